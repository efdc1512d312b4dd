"""Text: ids and encodings of diffusers' pipeline; a vector in the place of a word."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from synthbridge.diffusion.loading import TextToImage
from synthbridge.diffusion.text import encode, encode_with_style, tokenize

PROMPTS = ["", "a photo of a cat", "a photo of my sea lion"]


def test_encodings_of_diffusers_pipeline(generator: TextToImage, folder: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    expected, _ = pipeline.encode_prompt(PROMPTS, torch.device("cpu"), 1, False)
    with torch.no_grad():
        ours = encode(generator.text_encoder, tokenize(generator.tokenizer, PROMPTS))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


def test_a_vector_takes_the_place_of_a_word(generator: TextToImage):
    ids = tokenize(generator.tokenizer, PROMPTS[1:])
    table = generator.text_encoder.get_input_embeddings().weight
    is_style = torch.zeros_like(ids, dtype=torch.bool)
    is_style[:, 2] = True
    other = ids.clone()
    other[:, 2] = 7
    vector = table[7].clone().requires_grad_()
    replaced = encode_with_style(generator.text_encoder, ids, is_style, vector)
    torch.testing.assert_close(replaced, encode(generator.text_encoder, other))
    replaced.square().sum().backward()
    assert vector.grad is not None and vector.grad.abs().min() > 0
    assert table.grad is None


def test_the_hook_is_gone_afterwards(generator: TextToImage):
    ids = tokenize(generator.tokenizer, PROMPTS)
    before = encode(generator.text_encoder, ids)
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    encode_with_style(generator.text_encoder, ids, everywhere, torch.zeros(32))
    assert torch.equal(encode(generator.text_encoder, ids), before)
