"""Text: prompts become token ids, and token ids what the UNet attends to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer


def load_tokenizer(generator: Path) -> "CLIPTokenizer":
    """Load the tokenizer of a Stable Diffusion folder alone."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(generator / "tokenizer", local_files_only=True)


def tokenize(tokenizer: "CLIPTokenizer", prompts: Sequence[str]) -> torch.Tensor:
    """Return token ids (N, L), padded to the longest prompt that the tokenizer allows.

    Raises:
        ValueError: if a prompt is longer; cut off, it would lose its class or its style token.
    """
    longest = tokenizer.model_max_length
    ids = tokenizer(list(prompts), padding="max_length", max_length=longest)["input_ids"]
    for prompt, row in zip(prompts, ids, strict=True):
        if len(row) > longest:
            raise ValueError(
                f"prompt '{prompt}' has {len(row)} tokens, and the generator reads {longest}; "
                "shorten it, or the class name"
            )
    return torch.tensor(ids)


def encode(text_encoder: "CLIPTextModel", ids: torch.Tensor) -> torch.Tensor:
    """Encode token ids (N, L) as the UNet attends to them: (N, L, D)."""
    return text_encoder(send(ids, text_encoder.device), return_dict=False)[0]


def find_word(ids: torch.Tensor, token_id: int) -> torch.Tensor:
    """Return where `token_id` stands for the last time in each row of `ids`: bool (N, L).

    The last time: a prompt may hold the same word before, in the class's name.
    """
    is_word = ids == token_id
    return is_word & (is_word.flip(1).cumsum(1).flip(1) == 1)


def encode_with_style(
    text_encoder: "CLIPTextModel", ids: torch.Tensor, is_style: torch.Tensor, vector: torch.Tensor
) -> torch.Tensor:
    """Encode token ids (N, L) with `vector` in the places where `is_style` (N, L).

    `vector` is one for all rows (D,), or one a row (N, 1, D).

    The vector enters behind the embedding table, so that it alone has a gradient and no row of
    the table can move (diffusers issues 507, 1009 and 1176 are that fault).
    """
    place = send(is_style, text_encoder.device)[..., None]

    def put(_: torch.nn.Module, __: object, words: torch.Tensor) -> torch.Tensor:
        return torch.where(place, vector.to(words.dtype), words)

    hook = text_encoder.get_input_embeddings().register_forward_hook(put)
    try:
        return encode(text_encoder, ids)
    finally:
        hook.remove()
