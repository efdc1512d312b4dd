"""Style inversion: a naive reference's steps, nothing else moves, a killed run resumes exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.generator import repeat
from synthbridge.diffusion.inversion import (
    DenoisingObjective,
    Lesson,
    initial_vector,
    invert_style,
    style_objective,
)
from synthbridge.diffusion.latents import ClassBalance, cache_latents, draw_batch
from synthbridge.diffusion.learning import Checkpoint
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import put_words

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2] * 4)
NAMES = ("cat", "style", "sea lion")  # one is the initial word itself
SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=12,
    batch_size=8,
    learning_rate=0.05,
    samples_per_class=1,
    seed=5,
)


LESSON = Lesson(IMAGES, LABELS, NAMES, flip=True)


def invert(
    generator: StableDiffusion,
    settings: InversionSettings = SETTINGS,
    checkpoint: Checkpoint | None = None,
):
    return invert_style(generator, settings, LESSON, checkpoint)


def invert_naively(generator: StableDiffusion, num_steps: int) -> tuple[torch.Tensor, list[float]]:
    """Train a row of the embedding table as the usual script does: the whole batch through all."""
    tokenizer, text_encoder = generator.vocabularies[0].tokenizer, generator.text_encoders[0]
    word_id = tokenizer.convert_tokens_to_ids("style</w>")
    start = text_encoder.get_input_embeddings().weight[word_id].clone()
    ((token_id,),) = put_words(generator, {"<style>": start})
    table = text_encoder.get_input_embeddings().weight.requires_grad_()
    frozen = table.detach().clone()
    schedule: Any = DDPMScheduler.from_config(generator.scheduler_config)
    optimizer = torch.optim.AdamW([table], lr=SETTINGS.learning_rate, weight_decay=0)
    cache = cache_latents(generator, IMAGES, flip=True)
    losses = []
    for step in range(num_steps):
        draw = draw_batch(
            cache=cache,
            balance=ClassBalance(LABELS, NAMES),
            batch_size=8,
            num_timesteps=1000,
            seed=5,
            step=step,
        )
        prompts = [style_prompt(NAMES[index], "<style>") for index in draw.classes]
        ids = tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
        text = text_encoder(ids).last_hidden_state
        noisy, timesteps, target = draw.latents, draw.timesteps, draw.noise
        if generator.prediction == "flow":  # shifted by 2, as the folder says
            sigma = (timesteps + 1).view(-1, 1, 1, 1) / 1000
            sigma = 2 * sigma / (1 + sigma)
            noisy = (1 - sigma) * draw.latents + sigma * draw.noise
            timesteps, target = 1000 * sigma.flatten(), draw.noise - draw.latents
        else:
            noisy = schedule.add_noise(draw.latents, draw.noise, timesteps)
        if generator.prediction == "v":
            target = schedule.get_velocity(draw.latents, draw.noise, timesteps)
        loss = (generator.denoiser(noisy, timesteps, text).sample - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            others = torch.arange(len(table)) != token_id
            table[others] = frozen[others]
        losses.append(loss.item())
    return table[token_id].detach(), losses


def test_steps_of_a_naive_reference(generator: StableDiffusion):
    ours = invert(generator)
    vector, losses = invert_naively(generator, SETTINGS.num_steps)
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    start = initial_vector(generator, "style")
    assert (vector - start).abs().median() > 0.05  # it went somewhere
    # Its first steps are lr x sign(gradient), which blows up what rounding does to small gradients.
    torch.testing.assert_close(ours.vectors[0], vector, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["v", "v, zero SNR", "flow"])
def test_steps_of_a_naive_reference_at_other_predictions(variant: Callable[[str], Path], name: str):
    generator = load_generator(variant(name))
    assert isinstance(generator, StableDiffusion)
    ours = invert(generator, SETTINGS.model_copy(update={"num_steps": 6}))
    vector, losses = invert_naively(generator, 6)
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    torch.testing.assert_close(ours.vectors[0], vector, atol=1e-4, rtol=1e-4)


def test_the_gradient_of_a_naive_reference(generator: StableDiffusion):
    objective = style_objective(generator, NAMES, "style")
    cache = cache_latents(generator, IMAGES, flip=False)
    draw = draw_batch(
        cache=cache,
        balance=ClassBalance(LABELS, NAMES),
        batch_size=8,
        num_timesteps=1000,
        seed=0,
        step=0,
    )
    vector = initial_vector(generator, "style").requires_grad_()
    objective.loss([vector], draw).backward()

    put_words(generator, {"<style>": initial_vector(generator, "style")})
    table = generator.text_encoders[0].get_input_embeddings().weight.requires_grad_()
    prompts = [style_prompt(NAMES[index], "<style>") for index in draw.classes]
    ids = (
        generator.vocabularies[0]
        .tokenizer(prompts, padding="max_length", return_tensors="pt")
        .input_ids
    )
    text = generator.text_encoders[0](ids).last_hidden_state
    noisy = DDPMScheduler.from_config(generator.scheduler_config).add_noise(
        draw.latents, draw.noise, draw.timesteps
    )
    error = generator.denoiser(noisy, draw.timesteps, text).sample - draw.noise
    error.square().mean().backward()
    assert vector.grad is not None and table.grad is not None
    expected = table.grad[-1]
    torch.testing.assert_close(vector.grad, expected, atol=1e-5 * expected.abs().max(), rtol=1e-4)


def test_nothing_but_the_vector_moves(generator: StableDiffusion):
    models = (generator.text_encoders[0], generator.denoiser, generator.vae)
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    words = len(generator.vocabularies[0].tokenizer)
    invert(generator)
    for model, weights in zip(models, before, strict=True):
        after = model.state_dict()
        assert after.keys() == weights.keys()
        assert all(torch.equal(after[key], weights[key]) for key in weights)
        assert all(parameter.grad is None for parameter in model.parameters())
    assert len(generator.vocabularies[0].tokenizer) == words


def test_a_killed_run_resumes_bit_for_bit(
    generator: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = invert(generator)
    checkpoint = Checkpoint(tmp_path / "run.safetensors", num_steps=1)
    real_loss, calls = DenoisingObjective.loss, []

    def die_in_the_middle(self, vector, draw):
        calls.append(1)
        if len(calls) == 14:  # a step is a loss, and a reading is 4
            raise KeyboardInterrupt
        return real_loss(self, vector, draw)

    monkeypatch.setattr(DenoisingObjective, "loss", die_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        invert(generator, checkpoint=checkpoint)
    monkeypatch.undo()
    assert checkpoint.path.exists()
    resumed = invert(generator, checkpoint=checkpoint)
    assert torch.equal(resumed.vectors, whole.vectors)
    assert resumed.losses == whole.losses
    assert resumed.fixed_noise_losses == whole.fixed_noise_losses


@pytest.mark.parametrize(
    ("settings", "lesson"),
    [
        ({"learning_rate": 0.01}, {}),
        ({"initial_word": "photo"}, {}),
        ({}, {"images": 255 - IMAGES}),
        ({}, {"labels": LABELS[::-1].copy()}),
        ({}, {"class_names": ("cat", "style", "dog")}),
        ({}, {"flip": False}),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    generator: StableDiffusion, tmp_path: Path, settings: dict, lesson: dict
):
    checkpoint = Checkpoint(tmp_path / "run.safetensors", num_steps=12)
    invert(generator, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="is a checkpoint of another style inversion"):
        invert_style(
            generator,
            SETTINGS.model_copy(update=settings),
            replace(LESSON, **lesson),
            checkpoint,
        )


def test_a_damaged_checkpoint_is_refused(generator: StableDiffusion, tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "run.safetensors")
    checkpoint.path.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        invert(generator, checkpoint=checkpoint)


def test_the_vector_is_float32_whatever_the_models_compute_in(generator: StableDiffusion):
    exact = invert(generator)
    rough = invert(generator.to("cpu", torch.bfloat16))
    assert rough.vectors.dtype == torch.float32
    assert rough.losses == pytest.approx(exact.losses, abs=0.02)


def test_the_loss_at_fixed_noise_falls(generator: StableDiffusion):
    settings = SETTINGS.model_copy(update={"num_steps": 60, "batch_size": 16})
    learned = invert(generator, settings)
    assert list(learned.fixed_noise_losses) == list(range(0, 61, 6))
    readings = list(learned.fixed_noise_losses.values())
    assert readings[-1] < readings[0] - 0.002
    assert len(learned.losses) == 60


def test_unet_and_vae_in_bfloat16_learn_nearly_the_same_style(generator: StableDiffusion):
    """As `to_fastest` sets them on a GPU: SD 1.5 in 12 GB."""
    start = initial_vector(generator, "style")
    exact = invert(generator)
    generator.to("cpu", torch.bfloat16).text_encoders[0].float()
    rough = invert(generator)
    moves = torch.stack([exact.vectors[0] - start, rough.vectors[0] - start])
    assert torch.corrcoef(moves)[0, 1] > 0.99
    assert np.allclose(rough.losses, exact.losses, rtol=0.02)


def test_repeated_prompts_are_indexed_ones_with_their_gradient():
    index = torch.tensor([0, 2, 2, 1, 0])
    mine = torch.randn(3, 24, 32, requires_grad=True)
    theirs = mine.detach().clone().requires_grad_()
    assert torch.equal(repeat(mine, index), theirs[index])
    weights = torch.randn(5, 24, 32)
    (repeat(mine, index) * weights).sum().backward()
    (theirs[index] * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
