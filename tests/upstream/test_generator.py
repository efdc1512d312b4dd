from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusionPipeline
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.schedule import training_levels, training_target
from synthbridge.upstream.generator import (
    CaptionedLatents,
    Latents,
    encode_captions,
    encode_images,
    load_text_tower,
    make_lesson,
    make_scheduler,
    make_unet,
    make_vae,
    save_generator,
    train_unet,
    train_vae,
)
from synthbridge.upstream.pool import Pool, scale_pixels
from synthbridge.upstream.settings import GeneratorSettings, MiniatureTraining

SHORT = MiniatureTraining(num_steps=3, batch_size=8, learning_rate=2e-3)


def test_vae_learns_to_repeat_images(pool: Pool):
    settings = MiniatureTraining(num_steps=40, batch_size=16, learning_rate=3e-3)
    vae, images = make_vae(0), scale_pixels(pool.images)
    errors = list(train_vae(vae, images, settings, seed=0))
    assert sum(errors[-5:]) < 0.5 * sum(errors[:5])
    latents = encode_images(vae, images[:2])
    assert latents.mean.shape == latents.std.shape == (2, 4, 4, 4)
    with torch.no_grad():
        expected = vae.encode(images[:2]).latent_dist
    assert torch.allclose(latents.mean, expected.mean, atol=1e-5)
    assert torch.allclose(latents.std, expected.std, atol=1e-5)


def test_a_latent_is_drawn_from_its_posterior():
    latents = Latents(torch.tensor([0.0, 10.0]).view(2, 1, 1, 1), torch.full((2, 1, 1, 1), 0.5))
    chosen = torch.tensor([1, 0]).repeat(2000)
    drawn = latents.scaled(2).sample(chosen, torch.Generator().manual_seed(0)).view(-1, 2)
    assert drawn.mean(0).tolist() == pytest.approx([20, 0], abs=0.1)
    assert drawn.std(0).tolist() == pytest.approx([1, 1], abs=0.05)


def test_captions_are_read_as_the_text_tower_reads_them(clip_folder: Path):
    clip = CLIPModel.from_pretrained(clip_folder)
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    captions = ["a photo of a two", "a photo of a one", "a photo of a two"]
    states, rows = encode_captions(clip.text_model, tokenizer, captions)
    assert states.shape == (3, 16, 64) and rows.tolist() == [2, 1, 2]
    for caption, state in (("", states[0]), (captions[0], states[2])):
        tokens = tokenizer(caption, padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            expected = clip.text_model(tokens).last_hidden_state[0]
        assert torch.allclose(state, expected, atol=1e-5)


def test_first_loss_is_the_noise_prediction_error():
    unet, scheduler = make_unet(64, 0), make_scheduler()
    generator = torch.Generator().manual_seed(9)
    latents = Latents(torch.randn(5, 4, 4, 4), torch.rand(5, 4, 4, 4))
    states = torch.randn(3, 16, 64)
    rows = torch.tensor([1, 2, 1, 2, 1])
    chosen = torch.randint(5, (8,), generator=generator)
    kept = torch.rand(8, generator=generator) >= 0.5
    times = torch.randint(1000, (8,), generator=generator)
    clean = latents.mean[chosen]
    clean = clean + latents.std[chosen] * torch.randn(8, 4, 4, 4, generator=generator)
    noise = torch.randn(8, 4, 4, 4, generator=generator)
    # Stable Diffusion's schedule: the square roots of the betas rise evenly.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept_signal = torch.cumprod(1 - betas, 0)[times].view(-1, 1, 1, 1)
    noisy = kept_signal.sqrt() * clean + (1 - kept_signal).sqrt() * noise
    texts = torch.where(kept.view(-1, 1, 1), states[rows[chosen]], states[0])
    with torch.no_grad():
        expected = F.mse_loss(unet(noisy, times, texts).sample, noise).item()
    settings = GeneratorSettings(vae=SHORT, unet=SHORT, caption_dropout=0.5, seed=9)
    steps = train_unet(unet, scheduler, CaptionedLatents(latents, states, rows), settings)
    assert next(steps) == pytest.approx(expected, rel=1e-4)


TIMES = torch.tensor([0, 1, 499, 998, 999])


def test_v_is_taught_as_its_paper_defines_it():
    clean, noise = torch.randn(2, 5, 4, 4, 4)
    lesson = make_lesson(make_scheduler("v"), "v", clean, noise, TIMES)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)[TIMES].view(-1, 1, 1, 1)
    alpha, sigma = bar.sqrt(), (1 - bar).sqrt()
    assert torch.allclose(lesson.noisy.double(), alpha * clean + sigma * noise, atol=1e-5)
    assert torch.allclose(lesson.target.double(), alpha * noise - sigma * clean, atol=1e-5)
    assert torch.equal(lesson.times, TIMES)
    # What it says is enough to have the image back: x_0 = alpha x_t - sigma v.
    assert torch.allclose(alpha * lesson.noisy - sigma * lesson.target, clean.double(), atol=1e-5)


def test_flow_is_taught_on_straight_lines_and_as_diffusers_noises_for_it():
    clean, noise = torch.randn(2, 5, 4, 4, 4)
    lesson = make_lesson(make_scheduler("flow"), "flow", clean, noise, TIMES)
    t = torch.tensor([0.001, 0.002, 0.5, 0.999, 1.0]).view(-1, 1, 1, 1)
    assert torch.allclose(lesson.noisy, (1 - t) * clean + t * noise)
    assert torch.equal(lesson.target, noise - clean)
    assert torch.allclose(lesson.noisy - t * lesson.target, clean, atol=1e-5)
    euler = FlowMatchEulerDiscreteScheduler()
    assert torch.equal(lesson.times, euler.timesteps.flip(0)[TIMES].long())
    noised = euler.scale_noise(clean, lesson.times.float(), noise)
    assert torch.allclose(lesson.noisy, noised, atol=1e-6)


@pytest.mark.parametrize("prediction", ["noise", "v", "flow"])
def test_each_kind_learns_from_the_same_draws(prediction):
    """The flow of one image and one caption, say, is half known after 60 steps."""
    latents = Latents(torch.randn(1, 4, 4, 4).expand(8, -1, -1, -1), torch.zeros(8, 4, 4, 4))
    captioned = CaptionedLatents(latents, torch.randn(2, 16, 64), torch.ones(8, dtype=torch.long))
    run = MiniatureTraining(num_steps=60, batch_size=32, learning_rate=4e-3)
    settings = GeneratorSettings(
        vae=SHORT, unet=run, caption_dropout=0.1, prediction=prediction, seed=0
    )
    losses = list(train_unet(make_unet(64, 0), make_scheduler(prediction), captioned, settings))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("prediction", ["noise", "v", "flow"])
def test_diffusers_own_pipeline_draws_with_each_kind(clip_folder: Path, tmp_path: Path, prediction):
    text_encoder, tokenizer = load_text_tower(clip_folder)
    unet, scheduler = make_unet(64, 2), make_scheduler(prediction)
    save_generator(tmp_path, make_vae(1), unet, scheduler, text_encoder, tokenizer)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    kinds = {"noise": "epsilon", "v": "v_prediction", "flow": "flow_prediction"}
    assert pipeline.scheduler.config.prediction_type == kinds[prediction]
    images = pipeline("a photo of a two", num_inference_steps=3, output_type="np").images
    assert images.shape == (1, 16, 16, 3) and np.isfinite(images).all()


@pytest.mark.parametrize("prediction", ["noise", "v", "flow"])
def test_each_kind_is_drawn_and_learned_with_as_it_was_taught(
    clip_folder: Path, tmp_path: Path, prediction
):
    """An inversion's levels and targets are those of `make_lesson`."""
    text_encoder, tokenizer = load_text_tower(clip_folder)
    scheduler = make_scheduler(prediction)
    save_generator(tmp_path, make_vae(1), make_unet(64, 2), scheduler, text_encoder, tokenizer)
    generator = load_generator(tmp_path)
    assert generator.prediction == prediction and "dpm++" in generator.samplers
    clean, noise = torch.randn(2, 5, 4, 4, 4)
    lesson = make_lesson(scheduler, prediction, clean, noise, TIMES)
    levels = training_levels(generator.scheduler_config)
    assert len(levels.timesteps) == 1000
    assert torch.allclose(levels.timesteps[TIMES].float(), lesson.times.float())
    alpha, sigma = (of[TIMES].view(-1, 1, 1, 1) for of in (levels.alphas, levels.sigmas))
    assert torch.allclose(alpha * clean + sigma * noise, lesson.noisy, atol=1e-5)
    target = training_target(prediction, clean, noise, alpha, sigma)
    assert torch.allclose(target, lesson.target, atol=1e-5)


def test_diffusers_loads_what_is_saved_and_draws_with_it(clip_folder: Path, tmp_path: Path):
    text_encoder, tokenizer = load_text_tower(clip_folder)
    vae, unet = make_vae(1), make_unet(64, 2)
    save_generator(tmp_path, vae, unet, make_scheduler(), text_encoder, tokenizer)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a photo of a two", num_inference_steps=2, output_type="np").images
    assert images.shape == (1, 16, 16, 3)
    for part, model in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        for name, weight in getattr(pipeline, part).state_dict().items():
            assert torch.equal(weight, model.state_dict()[name]), (part, name)
    assert not list(tmp_path.rglob("*.bin"))
