"""Class tokens: each learns as if alone, from its own images; a killed run resumes exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from synthbridge.diffusion import learning
from synthbridge.diffusion.class_tokens import invert_classes, name_vectors
from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.inversion import Lesson, invert_style
from synthbridge.diffusion.latents import ClassBalance, cache_latents, draw_batch
from synthbridge.diffusion.learning import Checkpoint
from synthbridge.diffusion.prompts import class_placeholder, class_prompt
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import put_words
from synthbridge.diffusion.text import word_table

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3] * 2)
NAMES = ("cat", "style", "sea lion", "dog")  # one is the initial word, one is two tokens
SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=8,
    batch_size=2,  # of four classes: each step leaves some out
    learning_rate=0.05,
    samples_per_class=1,
    seed=5,
)


LESSON = Lesson(IMAGES, LABELS, NAMES, flip=False)


def invert(
    generator: StableDiffusion,
    settings: InversionSettings = SETTINGS,
    checkpoint: Checkpoint | None = None,
):
    return invert_classes(generator, settings, LESSON, checkpoint)


def invert_naively(generator: StableDiffusion) -> tuple[torch.Tensor, list[float]]:
    """Train rows of the embedding table, with an optimiser a class that steps when it is drawn."""
    words = {class_placeholder("<style>", label): None for label in range(len(NAMES))}
    words = dict(zip(words, name_vectors(generator, NAMES), strict=True))
    (ids,) = put_words(generator, words)
    table = word_table(generator.text_encoders[0]).requires_grad_()
    rows = [torch.nn.Parameter(vector.clone()) for vector in words.values()]
    optimizers = [
        torch.optim.AdamW([row], lr=SETTINGS.learning_rate, weight_decay=0) for row in rows
    ]
    schedule = DDPMScheduler.from_config(generator.scheduler_config)
    cache = cache_latents(generator, IMAGES, flip=False)
    losses = []
    for step in range(SETTINGS.num_steps):
        draw = draw_batch(
            cache=cache,
            balance=ClassBalance(LABELS, NAMES),
            batch_size=2,
            num_timesteps=1000,
            seed=5,
            step=step,
        )
        prompts = [class_prompt(list(words)[label]) for label in draw.classes]
        tokens = (
            generator.vocabularies[0]
            .tokenizer(prompts, padding="max_length", return_tensors="pt")
            .input_ids
        )
        text = generator.text_encoders[0](tokens).last_hidden_state
        noisy = schedule.add_noise(draw.latents, draw.noise, draw.timesteps)
        loss = (generator.denoiser(noisy, draw.timesteps, text).sample - draw.noise).square().mean()
        table.grad = None
        loss.backward()
        for label in set(draw.classes.tolist()):
            rows[label].grad = table.grad[ids[label]].clone()
            optimizers[label].step()
            with torch.no_grad():
                table[ids[label]] = rows[label]
        losses.append(loss.item())
    return torch.stack([row.detach() for row in rows]), losses


def test_steps_of_a_naive_reference(generator: StableDiffusion):
    start = name_vectors(generator, NAMES)
    ours = invert(generator)
    vectors, losses = invert_naively(generator)
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    torch.testing.assert_close(ours.vectors, vectors, atol=1e-4, rtol=1e-4)
    assert ((ours.vectors - start).abs().amax(1) > 0.03).all()  # each went somewhere


def test_a_class_that_no_step_draws_stays_as_its_name(generator: StableDiffusion):
    settings = SETTINGS.model_copy(update={"num_steps": 1, "batch_size": 1})
    moved = (invert(generator, settings).vectors != name_vectors(generator, NAMES)).any(1)
    assert moved.sum() == 1


def test_words_start_as_the_names(generator: StableDiffusion):
    table = word_table(generator.text_encoders[0])
    ids = generator.vocabularies[0].tokenizer.convert_tokens_to_ids(
        ["sea</w>", "lion</w>", "dog</w>"]
    )
    assert isinstance(ids, list)
    start = name_vectors(generator, NAMES)
    torch.testing.assert_close(start[2], (table[ids[0]] + table[ids[1]]) / 2)
    assert torch.equal(start[3], table[ids[2]])


def test_as_many_images_and_steps_as_the_style_token(
    generator: StableDiffusion, monkeypatch: pytest.MonkeyPatch
):
    real, seen = draw_batch, []

    def watch(**arguments):
        draw = real(**arguments)
        seen.append((arguments["step"], draw))
        return draw

    monkeypatch.setattr("synthbridge.diffusion.inversion.draw_batch", watch)
    invert(generator)
    ours, seen[:] = list(seen), []
    invert_style(generator, SETTINGS, LESSON)
    assert [step for step, _ in ours] == [step for step, _ in seen]
    for (_, a), (_, b) in zip(ours, seen, strict=True):
        assert torch.equal(a.classes, b.classes) and torch.equal(a.latents, b.latents)


def test_a_killed_run_resumes_bit_for_bit(
    generator: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = invert(generator)
    checkpoint = Checkpoint(tmp_path / "run.safetensors", num_steps=1)
    save, saved = learning._save_run, []

    def die_after_three(run, path, key):
        save(run, path, key)
        saved.append(run.step)
        if len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(learning, "_save_run", die_after_three)
    with pytest.raises(KeyboardInterrupt):
        invert(generator, checkpoint=checkpoint)
    monkeypatch.undo()
    resumed = invert(generator, checkpoint=checkpoint)
    assert torch.equal(resumed.vectors, whole.vectors)
    assert resumed.losses == whole.losses
    assert resumed.fixed_noise_losses == whole.fixed_noise_losses


def test_nothing_but_the_words_moves(generator: StableDiffusion):
    before = {k: v.clone() for k, v in generator.text_encoders[0].state_dict().items()}
    invert(generator)
    after = generator.text_encoders[0].state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
