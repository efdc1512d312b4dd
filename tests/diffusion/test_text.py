"""Text: ids and encodings of diffusers' pipeline; a vector in the place of a word."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.text import encode, put_behind_table, tokenize

PROMPTS = ["", "a photo of a cat", "a photo of my sea lion"]


def test_encodings_of_diffusers_pipeline(generator: StableDiffusion, folder: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    expected, _ = pipeline.encode_prompt(PROMPTS, torch.device("cpu"), 1, False)
    with torch.no_grad():
        ours = encode(
            generator.text_encoders[0], tokenize(generator.vocabularies[0].tokenizer, PROMPTS)
        )
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


def test_a_vector_takes_the_place_of_a_word(generator: StableDiffusion):
    ids = tokenize(generator.vocabularies[0].tokenizer, PROMPTS[1:])
    table = generator.text_encoders[0].get_input_embeddings().weight
    is_style = torch.zeros_like(ids, dtype=torch.bool)
    is_style[:, 2] = True
    other = ids.clone()
    other[:, 2] = 7
    vector = table[7].clone().requires_grad_()
    with put_behind_table(generator.text_encoders[0], is_style, vector):
        replaced = encode(generator.text_encoders[0], ids)
    torch.testing.assert_close(replaced, encode(generator.text_encoders[0], other))
    replaced.square().sum().backward()
    assert vector.grad is not None and vector.grad.abs().min() > 0
    assert table.grad is None


def test_the_hook_is_gone_afterwards(generator: StableDiffusion):
    ids = tokenize(generator.vocabularies[0].tokenizer, PROMPTS)
    before = encode(generator.text_encoders[0], ids)
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    with put_behind_table(generator.text_encoders[0], everywhere, torch.zeros(32)):
        assert not torch.equal(encode(generator.text_encoders[0], ids), before)
    assert torch.equal(encode(generator.text_encoders[0], ids), before)
