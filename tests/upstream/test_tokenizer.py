from pathlib import Path

from transformers import CLIPTokenizer

from synthbridge.core.files import hash_folder
from synthbridge.upstream.glyphs import STYLE_WORDS
from synthbridge.upstream.pool import CLASS_NAMES, Pool
from synthbridge.upstream.tokenizer import train_tokenizer


def test_known_words_are_single_tokens(clip_folder: Path):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    for word in ("style", "photo", *CLASS_NAMES, *STYLE_WORDS):
        assert tokenizer.tokenize(word) == [word + "</w>"], word


def test_prompts_start_end_and_are_padded_as_clip_does(clip_folder: Path):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    start, end = len(tokenizer) - 2, len(tokenizer) - 1
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (start, end)
    ids = tokenizer("A Three photo", padding="max_length").input_ids
    words = tokenizer.convert_tokens_to_ids(["a</w>", "three</w>", "photo</w>"])
    assert ids == [start, *words, *[end] * 12]


def test_unknown_words_are_spelt_not_lost(clip_folder: Path):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    for text in ("a zebra crossing", "caf\u00e9"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.eos_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_same_captions_give_the_same_bytes(pool: Pool, tmp_path: Path):
    for name in ("one", "two"):
        train_tokenizer(pool.captions, tmp_path / name)
    assert hash_folder(tmp_path / "one") == hash_folder(tmp_path / "two")
