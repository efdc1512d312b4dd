"""Tokens: what a generator's own tokenizer makes of the style token and of every prompt.

    python benchmarks/tokens.py GENERATOR data/real/caltech101 ...

GENERATOR is a folder in diffusers' layout, of which `tokenizer` and `text_encoder/config.json` are
read: the weights of the text encoder are drawn at random, since a vocabulary does not need them.
The rest are prepared data sets, whose class names are put into every prompt.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import measure  # noqa: F401, puts the package on the path
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from synthbridge.data.real import read_dataset
from synthbridge.diffusion.generator import Vocabulary
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.style_token import (
    add_words,
    check_placeholder,
    find_initial_token,
)
from synthbridge.diffusion.text import tokenize, word_table
from synthbridge.prompts.templates import TEMPLATES

PLACEHOLDER, INITIAL_WORD = "<style>", "style"

# Among the longest names of Stanford Cars, Stanford Dogs, CUB-200-2011 and FGVC-Aircraft.
LONG_NAMES = (
    "Chevrolet Silverado 2500HD Regular Cab 2012",
    "Ford F-450 Super Duty Crew Cab 2012",
    "American Staffordshire terrier",
    "Northern Rough winged Swallow",
    "McDonnell Douglas MD-80 aircraft",
)
TOO_LONG = "soft-coated Wheaten terrier " * 15


def add_token(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
    """Add the style token as `invert` does; print its place, and whether a word has moved."""
    before = word_table(text_encoder).clone()
    initial = find_initial_token(tokenizer, INITIAL_WORD)
    vocabulary = Vocabulary(tokenizer, text_encoder, place=0)
    (token,) = add_words(vocabulary, {PLACEHOLDER: before[initial]})
    after = word_table(text_encoder)
    print(f"initial word '{INITIAL_WORD}': token {initial}")
    print(f"'{PLACEHOLDER}': token {token}, behind the {len(before)} words of the vocabulary")
    print(f"the other rows are bit-equal: {torch.equal(after[: len(before)], before)}")
    row = tokenize(tokenizer, [style_prompt("cat", PLACEHOLDER)])[0]
    print(f"it stands {int((row == token).sum())} time in '{style_prompt('cat', PLACEHOLDER)}'")


def show_refusals(tokenizer: CLIPTokenizer) -> None:
    """Print the sentences that refuse a known word and a prompt that is too long."""
    for word in ("style", "photograph", PLACEHOLDER):
        try:
            check_placeholder(tokenizer, word)
            print(f"placeholder '{word}' is NOT refused")
        except ValueError as error:
            print(f"refused: {error}")
    try:
        tokenize(tokenizer, [style_prompt(TOO_LONG, PLACEHOLDER)])
        print("a prompt that is too long is NOT refused")
    except ValueError as error:
        print(f"refused: ... {str(error)[-90:]}")


def count_tokens(tokenizer: CLIPTokenizer, name: str, class_names: Sequence[str]) -> None:
    """Print a table's row: the most tokens that a prompt with one of the class names takes."""
    templates = [template.format(word) for template in TEMPLATES for word in class_names]
    styled = [style_prompt(word, PLACEHOLDER) for word in class_names]
    tokenize(tokenizer, [*templates, *styled])  # raises where one is too long
    most = [max(map(len, tokenizer(prompts)["input_ids"])) for prompts in (templates, styled)]
    longest = max(class_names, key=lambda word: len(tokenizer(word)["input_ids"]))
    print(f"| {name} | {len(class_names)} | {longest} | {most[0]} | {most[1]} |")


def main() -> None:
    """Take the folders, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator", type=Path)
    parser.add_argument("real", type=Path, nargs="*", help="prepared data sets")
    args = parser.parse_args()
    tokenizer = CLIPTokenizer.from_pretrained(args.generator / "tokenizer", local_files_only=True)
    config = CLIPTextConfig.from_json_file(args.generator / "text_encoder" / "config.json")
    add_token(tokenizer, CLIPTextModel(config).requires_grad_(False))
    show_refusals(tokenizer)
    print("\n| class names | number | longest | most tokens, templates | style prompt |")
    print("|---|---|---|---|---|")
    for folder in args.real:
        count_tokens(tokenizer, folder.name, read_dataset(folder).class_names)
    count_tokens(tokenizer, "long names", LONG_NAMES)


if __name__ == "__main__":
    main()
