"""The style token: one new word of a generator's vocabulary, and its file."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from synthbridge.files import whole_file

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer


def word_table(text_encoder: "CLIPTextModel") -> torch.Tensor:
    """Return the embedding of every word (V, D), itself and no copy."""
    words = text_encoder.get_input_embeddings()
    assert isinstance(words, torch.nn.Embedding)
    return words.weight


def find_initial_token(tokenizer: "CLIPTokenizer", initial_word: str) -> int:
    """Return the id of the one token of `initial_word`.

    Raises:
        ValueError: if it is no token, or several.
    """
    ids = tokenizer(initial_word, add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    if len(ids) != 1 or ids[0] == unknown:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise ValueError(
            f"initial_word '{initial_word}' is {len(ids)} tokens of the generator ({pieces}), and "
            "it must be one; choose a simpler word, such as style"
        )
    return ids[0]


def check_placeholder(tokenizer: "CLIPTokenizer", placeholder: str) -> None:
    """Refuse a placeholder that the generator knows already.

    Raises:
        ValueError: if it is in the vocabulary.
    """
    if placeholder in tokenizer.get_vocab():
        raise ValueError(
            f"placeholder '{placeholder}' is already a word of the generator, and the style token "
            "needs one of its own; choose another, such as <style-1>"
        )


def add_style_token(
    tokenizer: "CLIPTokenizer",
    text_encoder: "CLIPTextModel",
    placeholder: str,
    vector: torch.Tensor,
) -> int:
    """Add `placeholder` to the vocabulary, with the embedding `vector` (D,); return its id.

    Every other row of the embedding stays bit-equal.

    Raises:
        ValueError: if the generator knows the placeholder, or the vector is of another length.
    """
    check_placeholder(tokenizer, placeholder)
    num_words = len(word_table(text_encoder))
    _check_width(text_encoder, vector)
    tokenizer.add_tokens(placeholder)
    token_id = tokenizer.get_vocab()[placeholder]
    if token_id >= num_words:
        text_encoder.resize_token_embeddings(token_id + 1, mean_resizing=False)
        text_encoder.requires_grad_(False)  # the table is a new parameter
    set_style_token(text_encoder, token_id, vector)
    return token_id


def put_style_token(
    tokenizer: "CLIPTokenizer",
    text_encoder: "CLIPTextModel",
    placeholder: str,
    vector: torch.Tensor,
) -> int:
    """Add `placeholder`, or give it another `vector` (D,) where it was added before; return its id.

    Raises:
        ValueError: if it is a word that the generator came with, or the vector of another length.
    """
    token_id = tokenizer.get_added_vocab().get(placeholder)
    if token_id is None or placeholder in tokenizer.all_special_tokens:
        return add_style_token(tokenizer, text_encoder, placeholder, vector)
    set_style_token(text_encoder, token_id, vector)
    return token_id


def set_style_token(text_encoder: "CLIPTextModel", token_id: int, vector: torch.Tensor) -> None:
    """Put `vector` (D,) in the place of the style token's embedding.

    Raises:
        ValueError: if it is of another length.
    """
    _check_width(text_encoder, vector)
    with torch.no_grad():
        word_table(text_encoder)[token_id] = vector


def _check_width(text_encoder: "CLIPTextModel", vector: torch.Tensor) -> None:
    width = word_table(text_encoder).shape[1]
    if vector.shape != (width,):
        raise ValueError(
            f"the style token has shape {tuple(vector.shape)}, and this generator's words have "
            f"{width} numbers; learn the token with this generator ('dvc repro')"
        )


def save_style_token(path: Path, placeholder: str, vector: torch.Tensor) -> None:
    """Write {placeholder: vector (D,)}, as diffusers' `load_textual_inversion` reads it."""
    with whole_file(path) as partial:
        save_file({placeholder: vector.detach().float().cpu().contiguous()}, partial)


def load_style_token(path: Path) -> tuple[str, torch.Tensor]:
    """Read a style token: its placeholder and its vector (D,).

    Raises:
        ValueError: if the file holds anything else than one vector.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{path} is no style token ({error}); run 'dvc repro' for it") from None
    if len(tensors) != 1 or any(tensor.ndim != 1 for tensor in tensors.values()):
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise ValueError(f"{path} holds {shapes} and not one vector; run 'dvc repro' for it")
    return next(iter(tensors.items()))
