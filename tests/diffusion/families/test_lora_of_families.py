"""A LoRA of every family: learned, saved, and read by diffusers' pipeline, which draws the same."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    Flux2KleinPipeline,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    ZImagePipeline,
)
from diffusion.tiny_sdxl import write_sdxl
from flow_reference import Pair, load_pair, of_vae, packed, unpacked
from tiny_flow import SAVED

from synthbridge.diffusion.inversion import Lesson
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.lora import (
    Change,
    attention_projections,
    fused,
    load_lora,
    save_lora,
    start_lora,
)
from synthbridge.diffusion.prompts import image_seed
from synthbridge.diffusion.sampling import denoise, encode_prompts
from synthbridge.diffusion.schedule import make_steps
from synthbridge.diffusion.settings import TuneSettings
from synthbridge.diffusion.tuning import tune

SETTINGS = TuneSettings(
    rank=2, alpha=4, steps_per_class=3, batch_size=4, learning_rate=0.01, seed=0
)
PAIRS: dict[str, Callable[[Path], Pair]] = {
    "sd3": partial(load_pair, pipeline=StableDiffusion3Pipeline),
    "schnell": partial(
        load_pair,
        pipeline=FluxPipeline,
        entering=packed,
        leaving=unpacked,
        scale=lambda _: 0.0,
        settings={"max_sequence_length": 256},
    ),
    "klein": partial(load_pair, pipeline=Flux2KleinPipeline, left=of_vae),
    "klein-base": partial(load_pair, pipeline=Flux2KleinPipeline, left=of_vae),
    "z-image": partial(load_pair, pipeline=ZImagePipeline, scale=lambda scale: scale - 1),
}


def visible(denoiser: Any) -> dict[str, Change]:
    """Return changes that are large enough to be seen."""
    draws = torch.Generator().manual_seed(0)
    return {
        name: Change(change.down, torch.randn(change.up.shape, generator=draws) * 0.2)
        for name, change in start_lora(denoiser, rank=2, seed=1).items()
    }


def learn(generator: Any) -> dict[str, Change]:
    """Learn from random images; say that everything else is as it was."""
    size = generator.image_size
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    models = (*generator.text_encoders, generator.denoiser, generator.vae)
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    learned = tune(generator, SETTINGS, Lesson(images, [0, 1, 0, 1], ["cat", "dog"], flip=False))
    for model, weights in zip(models, before, strict=True):
        after = model.state_dict()
        assert after.keys() == weights.keys()
        assert all(torch.equal(after[key], weights[key]) for key in weights)
    assert np.isfinite(learned.losses).all() and len(learned.losses) == 6
    return learned.lora


@pytest.mark.parametrize("name", PAIRS)
def test_flow_matching_transformers(name: str, tmp_path: Path):
    pair = PAIRS[name](SAVED[name](tmp_path / "model"))
    denoiser = pair.ours.denoiser
    lora = learn(pair.ours)
    # What SD 3's last block asks of the prompt goes nowhere; all else takes part.
    idle = [name for name, change in lora.items() if not change.up.any()]
    assert idle == ([name for name in lora if name.endswith("add_q_proj")][-1:] * (name == "sd3"))
    save_lora(tmp_path / "lora.safetensors", denoiser, visible(denoiser))
    plain = pair.theirs.transformer.state_dict()
    scale = 1.0 if pair.ours.guidance == "none" else 3.5
    with fused(denoiser, load_lora(tmp_path / "lora.safetensors", denoiser)):
        with pytest.raises(AssertionError):
            pair.assert_same(3, scale)  # the LoRA is seen
        pair.theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors")
        assert len(pair.theirs.transformer.state_dict()) == len(plain) + 2 * len(lora)
        pair.assert_same(3, scale)


def test_sdxl(tmp_path: Path):
    folder = write_sdxl(tmp_path / "model")
    generator = load_generator(folder)
    denoiser = generator.denoiser
    lora = learn(generator)
    assert len(lora) == len(attention_projections(denoiser)) > 0
    save_lora(tmp_path / "lora.safetensors", denoiser, visible(denoiser))
    prompts, seeds = ["a photo of a cat"] * 2, [image_seed(0, 0, index) for index in range(2)]
    condition = encode_prompts(generator, ["", *prompts])
    steps = make_steps("ddpm", 5, generator.scheduler_config)

    def draw() -> torch.Tensor:
        index = torch.tensor([1, 2])
        return denoise(generator, condition, index, seeds, steps=steps, guidance_scale=4.0)

    plain = draw()
    with fused(denoiser, load_lora(tmp_path / "lora.safetensors", denoiser)):
        ours = draw()
    assert (ours - plain).abs().max() > 0.01
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    from diffusers import DDPMScheduler

    pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = pipeline(
        prompts,
        num_inference_steps=5,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
