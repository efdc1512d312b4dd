"""The style token: added without a trace elsewhere, saved as diffusers reads it, refused early."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.style_token import (
    check_placeholder,
    find_initial_token,
    load_words,
    put_words,
    save_words,
)

VECTOR = torch.linspace(-1, 1, 32)
PROMPT = "A cat photo in the style of <style>"


def add(generator: StableDiffusion, placeholder: str = "<style>", vector=VECTOR) -> int:
    ((token_id,),) = put_words(generator, {placeholder: vector})
    return token_id


def test_only_the_new_row_differs(generator: StableDiffusion):
    before = generator.text_encoders[0].get_input_embeddings().weight.clone()
    token_id = add(generator)
    after = generator.text_encoders[0].get_input_embeddings().weight
    assert token_id == len(before) and len(after) == len(before) + 1
    assert torch.equal(after[:-1], before) and torch.equal(after[-1], VECTOR)
    assert not after.requires_grad
    assert token_id in generator.vocabularies[0].tokenizer(PROMPT).input_ids
    assert add(generator, vector=-VECTOR) == token_id
    after = generator.text_encoders[0].get_input_embeddings().weight
    assert torch.equal(after[:-1], before) and torch.equal(after[-1], -VECTOR)


def test_diffusers_reads_our_file(generator: StableDiffusion, folder: Path, tmp_path: Path):
    path = tmp_path / "style.safetensors"
    save_words(path, {"<style>": VECTOR}, [32])
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.load_textual_inversion(path)
    add(generator)
    expected, _ = pipeline.encode_prompt(PROMPT, torch.device("cpu"), 1, False)
    ours = generator.encode(generator.tokenize([PROMPT])).sequence
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)
    without, _ = pipeline.encode_prompt(
        PROMPT.replace("<style>", "cat"), torch.device("cpu"), 1, False
    )
    assert (without - expected).abs().max() > 0.01


def test_round_trip_and_same_bytes(tmp_path: Path):
    words = {"<style-0001>": -VECTOR, "<style-0000>": VECTOR}
    for name in ("a", "b"):
        save_words(tmp_path / name, words, [32])
    read = load_words(tmp_path / "a")
    assert list(read) == sorted(words)
    assert all(torch.equal(read[word], words[word]) for word in words)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_initial_word_must_be_one_token(generator: StableDiffusion):
    token_id = find_initial_token(generator.vocabularies[0].tokenizer, "style")
    assert generator.vocabularies[0].tokenizer.convert_ids_to_tokens(token_id) == "style</w>"
    for word in ("impressionism", "a photo", ""):
        with pytest.raises(ValueError, match=f"initial_word '{word}' is .*it must be one; choose"):
            find_initial_token(generator.vocabularies[0].tokenizer, word)


def test_a_known_placeholder_is_refused(generator: StableDiffusion):
    check_placeholder(generator.vocabularies[0].tokenizer, "<style>")
    add(generator)
    for word in ("<style>", "<|endoftext|>", "style</w>"):
        with pytest.raises(ValueError, match="is already a word of the generator"):
            check_placeholder(generator.vocabularies[0].tokenizer, word)


def test_a_token_can_be_put_again_but_never_over_a_word(generator: StableDiffusion):
    before = generator.text_encoders[0].get_input_embeddings().weight.clone()
    first = put_words(generator, {"<style>": VECTOR})
    assert put_words(generator, {"<style>": -VECTOR}) == first
    after = generator.text_encoders[0].get_input_embeddings().weight
    assert torch.equal(after[:-1], before) and torch.equal(after[-1], -VECTOR)
    for word in ("<|endoftext|>", "style</w>"):
        with pytest.raises(ValueError, match="is already a word of the generator"):
            put_words(generator, {word: VECTOR})
    with pytest.raises(ValueError, match=r"shape \(768,\)"):
        put_words(generator, {"<style>": torch.zeros(768)})


def test_several_words_leave_every_other_row_as_it_was(generator: StableDiffusion):
    before = generator.text_encoders[0].get_input_embeddings().weight.clone()
    put_words(generator, {"<style-0001>": VECTOR})
    words = {f"<style-{label:04d}>": VECTOR * label for label in range(12)}
    (ids,) = put_words(generator, words)
    after = generator.text_encoders[0].get_input_embeddings().weight
    assert len(after) == len(before) + 12 and torch.equal(after[: len(before)], before)
    for token_id, (word, vector) in zip(ids, words.items(), strict=True):
        assert torch.equal(after[token_id], vector)
        assert generator.vocabularies[0].tokenizer(f"A {word} photo").input_ids[2] == token_id


def test_a_vector_of_another_generator_is_refused(generator: StableDiffusion):
    with pytest.raises(ValueError, match=r"shape \(768,\), and this generator's words have 32"):
        add(generator, vector=torch.zeros(768))
    assert "<style>" not in generator.vocabularies[0].tokenizer.get_vocab()


def test_a_file_that_is_no_style_token_is_refused(tmp_path: Path):
    path = tmp_path / "style.safetensors"
    with pytest.raises(ValueError, match="is no style token"):
        load_words(path)
    path.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="is no style token"):
        load_words(path)
    save_file({"a": VECTOR, "b": VECTOR[:5].clone()}, path)
    with pytest.raises(ValueError, match="and not vectors of one length"):
        load_words(path)
