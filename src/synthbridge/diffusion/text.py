"""Text: prompts become token ids, and learned vectors stand where an id says so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, PreTrainedModel


def load_tokenizer(folder: Path) -> "CLIPTokenizer":
    """Load CLIP's tokenizer from a folder such as `tokenizer` or `tokenizer_2`."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def tokenize(
    tokenizer: "CLIPTokenizer", prompts: Sequence[str], longest: int | None = None
) -> torch.Tensor:
    """Return token ids (N, L), padded to `longest`, or to the longest that the tokenizer allows.

    Raises:
        ValueError: if a prompt is longer; cut off, it would lose its class or its style token.
    """
    longest = longest or tokenizer.model_max_length
    ids = tokenizer(list(prompts), padding="max_length", max_length=longest)["input_ids"]
    for prompt, row in zip(prompts, ids, strict=True):
        require_whole(prompt, len(row), longest)
    return torch.tensor(ids)


def require_whole(prompt: str, num_tokens: int, longest: int) -> None:
    """Refuse a prompt that has more tokens than the generator reads."""
    if num_tokens > longest:
        raise ValueError(
            f"prompt '{prompt}' has {num_tokens} tokens, and the generator reads {longest}; "
            "shorten it, or the class name"
        )


def tokenize_cut(tokenizer: "CLIPTokenizer", prompts: Sequence[str]) -> torch.Tensor:
    """Return token ids (N, L) as `tokenize`, longer prompts cut: for what another reads whole."""
    longest = tokenizer.model_max_length
    text = tokenizer(list(prompts), padding="max_length", max_length=longest, truncation=True)
    return torch.tensor(text["input_ids"])


def encode(text_encoder: "PreTrainedModel", ids: torch.Tensor) -> torch.Tensor:
    """Encode token ids (N, L) by the encoder's last layer: (N, L, D)."""
    return text_encoder(send(ids, text_encoder.device), return_dict=False)[0]


def word_table(text_encoder: "PreTrainedModel") -> torch.Tensor:
    """Return the embedding of every word (V, D), itself and no copy."""
    words = text_encoder.get_input_embeddings()
    assert isinstance(words, torch.nn.Embedding)
    return words.weight


def find_word(ids: torch.Tensor, token_id: int) -> torch.Tensor:
    """Return where `token_id` stands for the last time in each row of `ids`: bool (N, L).

    The last time: a prompt may hold the same word before, in the class's name.
    """
    is_word = ids == token_id
    return is_word & (is_word.flip(1).cumsum(1).flip(1) == 1)


@contextmanager
def put_behind_table(
    text_encoder: "PreTrainedModel", is_word: torch.Tensor, vector: torch.Tensor
) -> Iterator[None]:
    """Encode, inside, with `vector` in the places where `is_word` (N, L).

    `vector` is one for all rows (D,), or one a row (N, 1, D).
    """
    place = send(is_word, text_encoder.device)[..., None]

    def put(_: torch.nn.Module, __: object, words: torch.Tensor) -> torch.Tensor:
        return torch.where(place, vector.to(words.dtype), words)

    hook = text_encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()
