"""The miniature's CLIP tokenizer: byte-pair merges learned from the captions, in CLIP's layout."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from synthbridge.core.files import write_json, write_text

WORD_END = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 16  # a prompt with its start and end; the longest caption has 13

# More merges than the captions can give: each of their words becomes one token.
MAX_VOCABULARY = 4096


def train_tokenizer(captions: Sequence[str], folder: Path) -> CLIPTokenizer:
    """Learn a CLIPTokenizer from `captions`, save it to `folder` and load it from there.

    Every word that stands in at least two captions becomes a single token; other words are spelt
    out in shorter ones, down to bytes, so that any prompt can be read.
    """
    merges = _learn_merges(captions)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # the 256 bytes, as printable characters
    tokens = letters + [letter + WORD_END for letter in letters]
    tokens += ["".join(pair) for pair in merges] + [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _learn_merges(captions: Sequence[str]) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    # As CLIPTokenizer reads text: lower case, split into words, digits and runs of signs.
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = BpeTrainer(
        vocab_size=MAX_VOCABULARY,
        min_frequency=2,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]
