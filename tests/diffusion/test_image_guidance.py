"""Real Guidance: the images of diffusers' image-to-image pipeline, from the same seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionImg2ImgPipeline,
)

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.image_guidance import Start, guide_by, noise_start
from synthbridge.diffusion.prompts import image_seed
from synthbridge.diffusion.sampling import sample_images
from synthbridge.diffusion.schedule import make_steps

PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of a cat", "a photo of my sea lion"]
SEEDS = [image_seed(0, 0, index) for index in range(len(PROMPTS))]
SHOTS = dict(
    zip(
        "ab", np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8), strict=True
    )
)
STARTS = ["a", "b", "b", "a"]


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionImg2ImgPipeline:
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(generator: StableDiffusion, strength: float, **changes: Any) -> np.ndarray:
    setting = {"sampler": "ddpm", "num_steps": 20, "guidance_scale": 3.5, "batch_size": 4}
    guidance = guide_by(generator, STARTS, SHOTS.__getitem__, strength)
    return np.concatenate(
        list(
            sample_images(
                generator, PROMPTS, SEEDS, image_guidance=guidance, **{**setting, **changes}
            )
        )
    )


@pytest.mark.parametrize("strength", [0.05, 0.15, 0.35, 0.5, 1.0])
@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("ddpm", DDPMScheduler), ("dpm++", DPMSolverMultistepScheduler)]
)
def test_images_of_diffusers_pipeline(
    generator: StableDiffusion,
    pipeline: StableDiffusionImg2ImgPipeline,
    sampler: Any,
    scheduler: Any,
    strength: float,
):
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    pixels = pipeline(
        PROMPTS,
        image=torch.from_numpy(np.stack([SHOTS[key] for key in STARTS])).permute(0, 3, 1, 2).float()
        / 255,
        strength=strength,
        num_inference_steps=20,
        guidance_scale=3.5,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    ours = draw(generator, strength, sampler=sampler)
    # The latents agree to 1e-4: a byte may round the other way, and no more.
    assert np.abs(ours.astype(float) - pixels * 255).max() < 0.55


def test_batches_take_their_own_real_images(generator: StableDiffusion):
    together = draw(generator, 0.5).astype(int)
    assert np.abs(draw(generator, 0.5, batch_size=3) - together).max() <= 1


def test_a_start_is_noised_as_the_schedule_says(generator: StableDiffusion):
    """x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise, as diffusers adds it."""
    step = make_steps("ddpm", 20, generator.scheduler_config, 0.35)[0]
    mean, std, z, noise = torch.randn(4, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    scheduler = DDPMScheduler.from_config(generator.scheduler_config)
    expected = scheduler.add_noise(mean + std * z, noise, torch.tensor([step.timestep]))
    ours = noise_start(Start(mean, std), z, noise, step)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert step.timestep == 301  # 7 of 20 steps are left, 50 timesteps each, and the offset


def test_a_real_image_of_another_size_is_refused(generator: StableDiffusion):
    large = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"shape \(32, 32, 3\) and the generator draws \(16"):
        guide_by(generator, ["a"], lambda _: large, 0.5)


def test_unet_and_vae_in_bfloat16_draw_nearly_the_same(generator: StableDiffusion):
    """As `to_fastest` sets them on a GPU."""
    exact = draw(generator, 0.35).astype(float)
    generator.to("cpu", torch.bfloat16).text_encoders[0].float()
    assert np.abs(draw(generator, 0.35) - exact).mean() < 2  # of 255
