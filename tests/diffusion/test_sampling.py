"""Sampling: the images of diffusers' own pipeline, one seed an image, flat images refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
)

from synthbridge.diffusion import sampling
from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import image_seed
from synthbridge.diffusion.sampling import (
    check_images,
    decode,
    denoise,
    encode_prompts,
    sample_images,
)
from synthbridge.diffusion.schedule import make_steps

PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of a cat", "a photo of my sea lion"]
SEEDS = [image_seed(0, 0, index) for index in range(len(PROMPTS))]
SETTING: dict[str, Any] = {"sampler": "ddpm", "num_steps": 4, "guidance_scale": 3.5}


def draw(generator: StableDiffusion, prompts=PROMPTS, seeds=SEEDS, **changes) -> np.ndarray:
    setting = {**SETTING, "batch_size": 4, **changes}
    return np.concatenate(list(sample_images(generator, prompts, seeds, **setting)))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("guidance_scale", [1.0, 3.5, 8.0])
@pytest.mark.parametrize(
    ("sampler", "scheduler", "num_steps"),
    [
        ("ddpm", DDPMScheduler, 12),
        ("dpm++", DPMSolverMultistepScheduler, 15),
        ("dpm++", DPMSolverMultistepScheduler, 6),
    ],
)
def test_images_of_diffusers_pipeline(
    generator: StableDiffusion,
    pipeline: StableDiffusionPipeline,
    sampler: Any,
    scheduler: Any,
    num_steps: int,
    guidance_scale: float,
):
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    reference = {
        "prompt": PROMPTS,
        "num_inference_steps": num_steps,
        "guidance_scale": guidance_scale,
    }
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    expected = pipeline(**reference, generator=noise, output_type="latent").images
    text = encode_prompts(generator, ["", *PROMPTS])
    steps = make_steps(sampler, num_steps, generator.scheduler_config)
    latents = denoise(
        generator, text, torch.arange(1, 5), SEEDS, steps=steps, guidance_scale=guidance_scale
    )
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    pixels = pipeline(**reference, generator=noise, output_type="np").images
    ours = draw(generator, sampler=sampler, num_steps=num_steps, guidance_scale=guidance_scale)
    # The latents agree to 1e-4: a byte may round the other way, and no more.
    assert np.abs(ours.astype(float) - pixels * 255).max() < 0.55


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("name", "sampler", "scheduler"),
    [
        ("v", "ddpm", DDPMScheduler),
        ("v", "dpm++", DPMSolverMultistepScheduler),
        ("v", "euler", EulerDiscreteScheduler),
        ("v, zero SNR", "ddpm", DDPMScheduler),
        ("v, zero SNR", "dpm++", DPMSolverMultistepScheduler),
        ("v, zero SNR", "euler_ancestral", EulerAncestralDiscreteScheduler),
        ("flow", "dpm++", None),  # the folder's own
    ],
)
def test_latents_of_diffusers_pipeline_at_other_predictions(
    variant: Callable[[str], Path], name: str, sampler: Any, scheduler: Any, guidance_scale: float
):
    folder = variant(name)
    generator, pipeline = load_generator(folder), StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler:
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    for num_steps in (5, 16):
        noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
        expected = pipeline(
            PROMPTS,
            num_inference_steps=num_steps,
            guidance_scale=guidance_scale,
            generator=noise,
            output_type="latent",
        ).images
        condition = encode_prompts(generator, ["", *PROMPTS])
        steps = make_steps(sampler, num_steps, generator.scheduler_config)
        latents = denoise(
            generator,
            condition,
            torch.arange(1, 5),
            SEEDS,
            steps=steps,
            guidance_scale=guidance_scale,
        )
        torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("v", {"sampler": "lcm"}, "sampler is lcm, which this .* choose dpm.* or ddpm or euler"),
        ("flow", {"sampler": "ddpm"}, r"sampler is ddpm, which .* choose dpm\+\+ or euler"),
        (
            "v",
            {"num_steps": 1000},
            "num_steps is 1000, and this .* draws in 1 to 999 steps;",
        ),
    ],
)
def test_what_the_generator_does_not_take_is_refused(
    variant: Callable[[str], Path], name: str, settings: dict, sentence: str
):
    generator = load_generator(variant(name))
    assert isinstance(generator, StableDiffusion)
    with pytest.raises(ValueError, match=sentence):
        draw(generator, **settings)


@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("ddpm", DDPMScheduler), ("dpm++", DPMSolverMultistepScheduler)]
)
def test_guidance_on_part_of_the_steps_as_diffusers_pipeline_with_a_callback(
    generator: StableDiffusion, pipeline: StableDiffusionPipeline, sampler: Any, scheduler: Any
):
    def stop_guidance(pipe, step, timestep, tensors):
        if step == 5:  # six of ten steps are done
            pipe._guidance_scale = 0.0
            return {"prompt_embeds": tensors["prompt_embeds"].chunk(2)[1]}
        return tensors

    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    expected = pipeline(
        PROMPTS,
        num_inference_steps=10,
        guidance_scale=3.5,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        callback_on_step_end=stop_guidance,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images
    text = encode_prompts(generator, ["", *PROMPTS])
    steps = make_steps(sampler, 10, generator.scheduler_config)
    guided = {"guidance_scale": 3.5, "guided_fraction": 0.6}
    latents = denoise(generator, text, torch.arange(1, 5), SEEDS, steps=steps, **guided)
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)


def test_only_the_guided_steps_take_two_rows_an_image(generator: StableDiffusion):
    rows: list[int] = []
    hook = generator.denoiser.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    draw(generator, guided_fraction=0.5)
    draw(generator, guided_fraction=0.0)
    hook.remove()
    assert rows == [8, 8, 4, 4] + [4] * 4


def test_same_batch_same_bytes(generator: StableDiffusion):
    assert draw(generator).tobytes() == draw(generator).tobytes()


@pytest.mark.parametrize("sampler", ["ddpm", "dpm++"])
def test_an_image_can_be_drawn_again_alone(generator: StableDiffusion, sampler: str):
    together = draw(generator, sampler=sampler).astype(int)
    for index in range(len(PROMPTS)):
        only = slice(index, index + 1)
        alone = draw(generator, PROMPTS[only], SEEDS[only], sampler=sampler)
        assert np.abs(alone[0] - together[index]).max() <= 1


def test_bfloat16_draws_the_same_picture(generator: StableDiffusion):
    exact = draw(generator, sampler="dpm++").astype(float)
    rough = draw(generator.to("cpu", torch.bfloat16), sampler="dpm++").astype(float)
    assert np.abs(exact - rough).mean() < 2 < exact.std()


def test_batches_come_in_order(generator: StableDiffusion):
    setting = {**SETTING, "batch_size": 3}
    batches = list(sample_images(generator, PROMPTS, SEEDS, **setting))
    assert [batch.shape for batch in batches] == [(3, 16, 16, 3), (1, 16, 16, 3)]
    assert {batch.dtype for batch in batches} == {np.dtype("uint8")}
    assert np.abs(np.concatenate(batches).astype(int) - draw(generator)).max() <= 1


def test_large_images_come_in_smaller_batches(generator: StableDiffusion, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_PIXELS_DENOISED", 3 * 16 * 16)
    batches = list(sample_images(generator, PROMPTS, SEEDS, **SETTING, batch_size=4))
    assert [len(batch) for batch in batches] == [3, 1]


def test_no_guidance_halves_the_batch(generator: StableDiffusion):
    sizes = set()
    hook = generator.denoiser.register_forward_pre_hook(lambda _, args: sizes.add(len(args[0])))
    draw(generator, guidance_scale=1.0)
    hook.remove()
    assert sizes == {4}


def test_the_unet_has_its_own_processors_back(generator: StableDiffusion):
    before = generator.denoiser.attn_processors
    draw(generator)
    after = generator.denoiser.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


def test_a_prompt_that_is_too_long_is_refused(generator: StableDiffusion):
    prompts = ["a photo of a " + "very " * 20 + "long cat"]
    with pytest.raises(ValueError, match=r"has \d+ tokens, and the generator reads 24; shorten"):
        draw(generator, prompts, SEEDS[:1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_makes_the_image_black(generator: StableDiffusion, bad: float):
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    latents[1, 0, 0, 0] = bad
    images = decode(generator, latents).numpy()
    assert images[0].std() > 0 and not images[1].any()
    check_images(images[:1], ["cat-0"])
    with pytest.raises(ValueError, match=r"drew 1 images of one flat colour \(cat-1\)"):
        check_images(images, ["cat-0", "cat-1"])


def test_large_decodes_are_cut(generator: StableDiffusion, monkeypatch: pytest.MonkeyPatch):
    latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = decode(generator, latents).int()
    monkeypatch.setattr("synthbridge.diffusion.sampling.MAX_PIXELS_DECODED", 16 * 16)
    assert (decode(generator, latents).int() - whole).abs().max() <= 1
