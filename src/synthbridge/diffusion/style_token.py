"""Learned words, the style token above all: new in a generator's vocabulary, and their file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from synthbridge.core.files import whole_file

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
    return put_words(tokenizer, text_encoder, {placeholder: vector})[0]


def put_words(
    tokenizer: "CLIPTokenizer", text_encoder: "CLIPTextModel", words: Mapping[str, torch.Tensor]
) -> list[int]:
    """Add each placeholder with its vector (D,), or set it anew where it was added before.

    Every other row of the embedding stays bit-equal.

    Returns:
        The words' ids.

    Raises:
        ValueError: if one is a word that the generator came with, or a vector of another length.
    """
    added = tokenizer.get_added_vocab()
    known = [word for word in words if word in added and word not in tokenizer.all_special_tokens]
    vocabulary = tokenizer.get_vocab()
    for word, vector in words.items():
        _check_width(text_encoder, vector)
        if word in vocabulary and word not in known:
            check_placeholder(tokenizer, word)
    tokenizer.add_tokens([word for word in words if word not in known])
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[word] for word in words]
    if max(ids) >= len(word_table(text_encoder)):
        text_encoder.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
        text_encoder.requires_grad_(False)  # the table is a new parameter
    for token_id, vector in zip(ids, words.values(), strict=True):
        set_style_token(text_encoder, token_id, vector)
    return ids


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


def save_words(path: Path, words: Mapping[str, torch.Tensor]) -> None:
    """Write {placeholder: vector (D,)}; diffusers' `load_textual_inversion` reads a file of one."""
    tensors = {word: vector.detach().float().cpu().clone() for word, vector in words.items()}
    with whole_file(path) as partial:
        save_file(tensors, partial)


def load_words(path: Path) -> dict[str, torch.Tensor]:
    """Read learned words: {placeholder: vector (D,)}, sorted.

    Raises:
        ValueError: if the file holds anything else than vectors of one length.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{path} is no style token ({error}); run 'dvc repro' for it") from None
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            f"{path} holds shapes {sorted(shapes)} and not vectors of one length; run 'dvc repro' "
            "for it"
        )
    return dict(sorted(tensors.items()))
