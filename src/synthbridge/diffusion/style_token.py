"""Learned words, the style token above all: new in a generator's vocabularies, and their files.

A word is one vector (D1 + D2 + ...): what each vocabulary of the generator has for it, one after
another. On disk each vocabulary has a file of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from synthbridge.core.files import whole_file
from synthbridge.diffusion.generator import Generator, Tokens, Vocabulary
from synthbridge.diffusion.text import find_word, word_table

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


def require_words(generator: Generator) -> None:
    """Refuse a generator in which no word can be learned.

    Raises:
        ValueError: what it is, and what to do.
    """
    if not generator.vocabularies:
        raise ValueError(
            f"the generator is of the family {generator.name}, in which no word can be learned; "
            "draw with template or contextual prompts, with a file of your own (docs/prompts.md), "
            "or tune the generator itself"
        )


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


def find_initial_tokens(generator: Generator, initial_word: str) -> list[int]:
    """Return the id of `initial_word` in each vocabulary; errors as `find_initial_token`."""
    return [find_initial_token(v.tokenizer, initial_word) for v in generator.vocabularies]


def find_words(generator: Generator, tokens: Tokens, word: str) -> list[torch.Tensor]:
    """Return where `word`, one token, stands last in each prompt: bool (N, L), one a vocabulary."""
    ids = find_initial_tokens(generator, word)
    return [
        find_word(tokens[vocabulary.place], token_id)
        for vocabulary, token_id in zip(generator.vocabularies, ids, strict=True)
    ]


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


def put_words(generator: Generator, words: Mapping[str, torch.Tensor]) -> list[list[int]]:
    """Add each placeholder with its vector, or set it anew where it was added before.

    Every other row of the embeddings stays bit-equal.

    Returns:
        The words' ids, a list a vocabulary.

    Raises:
        ValueError: if one is a word that the generator came with, or a vector of another length.
    """
    require_words(generator)
    widths = [vocabulary.width for vocabulary in generator.vocabularies]
    for word, vector in words.items():
        if vector.shape != (sum(widths),):
            raise ValueError(
                f"the learned word {word} has shape {tuple(vector.shape)}, and this generator's "
                f"words have {' + '.join(map(str, widths))} numbers; learn it with this generator "
                "('dvc repro')"
            )
        for vocabulary in generator.vocabularies:
            _check_own_words(vocabulary.tokenizer, word)
    parts = [vector.split(widths) for vector in words.values()]
    return [
        add_words(vocabulary, dict(zip(words, vectors, strict=True)))
        for vocabulary, vectors in zip(
            generator.vocabularies, zip(*parts, strict=True), strict=True
        )
    ]


def _check_own_words(tokenizer: "CLIPTokenizer", word: str) -> None:
    """Refuse a word that the vocabulary came with; one that was added may be set anew."""
    if word not in tokenizer.get_added_vocab() or word in tokenizer.all_special_tokens:
        check_placeholder(tokenizer, word)


def add_words(vocabulary: Vocabulary, words: Mapping[str, torch.Tensor]) -> list[int]:
    """Put words with their vectors (D,) into one vocabulary; return their ids."""
    tokenizer, text_encoder = vocabulary.tokenizer, vocabulary.text_encoder
    added = tokenizer.get_added_vocab()
    tokenizer.add_tokens([word for word in words if word not in added])
    known = tokenizer.get_vocab()
    ids = [known[word] for word in words]
    if max(ids) >= len(word_table(text_encoder)):
        text_encoder.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
        text_encoder.requires_grad_(False)  # the table is a new parameter
    with torch.no_grad():
        for token_id, vector in zip(ids, words.values(), strict=True):
            word_table(text_encoder)[token_id] = vector
    return ids


def word_files(path: Path, num_vocabularies: int) -> list[Path]:
    """Return the files of words: `path`, and beside NAME.safetensors NAME_2.safetensors, ..."""
    others = range(2, num_vocabularies + 1)
    return [path, *(path.with_stem(f"{path.stem}_{number}") for number in others)]


def save_words(path: Path, words: Mapping[str, torch.Tensor], widths: Sequence[int]) -> None:
    """Write {placeholder: vector}, a file a vocabulary.

    diffusers' `load_textual_inversion` reads each that holds one word.

    Args:
        path: of the first vocabulary's file; `word_files` names the others.
        words: of each placeholder its vector (D1 + D2 + ...).
        widths: D1, D2, ...
    """
    for place, file in enumerate(word_files(path, len(widths))):
        tensors = {
            word: vector.detach().float().cpu().split(list(widths))[place].clone()
            for word, vector in words.items()
        }
        with whole_file(file) as partial:
            partial.write_bytes(save(tensors))  # save_file hides that a disk is full


def load_words(path: Path) -> dict[str, torch.Tensor]:
    """Read learned words: {placeholder: vector (D1 + D2 + ...)}, sorted.

    Args:
        path: of the first vocabulary's file; those beside it that `word_files` names are read too.

    Raises:
        ValueError: if a file holds anything else than vectors of one length, or other words.
    """
    second = word_files(path, 2)[1]
    files = [_load_file(file) for file in (path, second) if file == path or file.exists()]
    if any(tensors.keys() != files[0].keys() for tensors in files):
        raise ValueError(f"{path} and {second.name} hold other words; run 'dvc repro' for them")
    return {word: torch.cat([tensors[word] for tensors in files]) for word in sorted(files[0])}


def _load_file(path: Path) -> dict[str, torch.Tensor]:
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
    return tensors
