"""Stable Diffusion 3: the latents and images of diffusers' own pipelines, with T5 and without."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3Pipeline
from flow_reference import PROMPTS, Pair, load_pair
from tiny_flow import save_sd3

from synthbridge.diffusion.loading import load_generator

SETTINGS = [(3, 1.0), (3, 4.5), (7, 1.0), (7, 4.5)]
WITHOUT_T5 = {"text_encoder_3": None, "tokenizer_3": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sd3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return load_pair(folder, StableDiffusion3Pipeline)


@pytest.fixture(scope="module")
def without_t5(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = save_sd3(tmp_path_factory.mktemp("without"), has_t5=False, use_dynamic_shifting=True)
    return load_pair(folder, StableDiffusion3Pipeline, parts=WITHOUT_T5)


@pytest.mark.parametrize(("num_steps", "scale"), SETTINGS)
def test_draws_as_diffusers(pair: Pair, num_steps: int, scale: float):
    pair.assert_same(num_steps, scale)


@pytest.mark.parametrize(("num_steps", "scale"), SETTINGS)
def test_draws_as_diffusers_without_t5_on_a_shifted_schedule(
    without_t5: Pair, num_steps: int, scale: float
):
    without_t5.assert_same(num_steps, scale)


def test_starts_from_images_as_diffusers(folder: Path):
    pair = load_pair(folder, StableDiffusion3Img2ImgPipeline)
    pair.assert_same_from_images(num_steps=6, strength=0.5, scale=4.5)


# Of seven steps: 0.55 leaves 3.85, which we round down and diffusers up.
@pytest.mark.parametrize(("ours", "theirs"), [(0.55, 0.42), (0.58, 0.55)])
def test_a_fraction_of_a_step_is_rounded_down_and_by_diffusers_up(
    folder: Path, ours: float, theirs: float
):
    pair = load_pair(folder, StableDiffusion3Img2ImgPipeline)
    pair.assert_same_from_images(num_steps=7, strength=ours, scale=4.5, their_strength=theirs)


def test_without_t5_clip_must_read_a_prompt_whole(pair: Pair, without_t5: Pair):
    long = "a photo of a cat " * 10  # 50 tokens: more than the 16 of the tiny CLIP
    clip, _, t5 = pair.ours.tokenize([long])
    assert clip.shape[1] == 16 and t5.shape[1] == 256
    with pytest.raises(ValueError, match=r"has 52 tokens, and the generator reads 16; shorten it"):
        without_t5.ours.tokenize([long])
    with pytest.raises(ValueError, match=r"and the generator reads 256; shorten it"):
        pair.ours.tokenize([long * 10])


def test_every_encoder_has_a_say(folder: Path):
    generator = load_generator(folder)
    before = generator.encode(generator.tokenize(PROMPTS))
    assert before.sequence.shape == (2, 16 + 256, 64) and before.pooled is not None
    for encoder in generator.text_encoders:
        with torch.no_grad():
            next(encoder.parameters()).mul_(1.5)
        after = generator.encode(generator.tokenize(PROMPTS))
        assert not torch.equal(after.sequence, before.sequence)
        before = after
