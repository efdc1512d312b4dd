"""Tuning: the steps of a naive reference, nothing else moves, a killed run resumes exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.inversion import Lesson
from synthbridge.diffusion.latents import ClassBalance, cache_latents, draw_batch
from synthbridge.diffusion.learning import Checkpoint
from synthbridge.diffusion.lora import start_lora
from synthbridge.diffusion.settings import TuneSettings
from synthbridge.diffusion.tuning import (
    LearnedLora,
    TuningObjective,
    rate_at,
    say_if_distilled,
    tune,
    tune_classes,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2] * 4)
NAMES = ("cat", "dog", "sea lion")
SETTINGS = TuneSettings(
    rank=3, alpha=6, steps_per_class=4, batch_size=8, learning_rate=0.01, seed=5
)
LESSON = Lesson(IMAGES, LABELS, NAMES, flip=True)


def tensors_of(learned: LearnedLora) -> list[torch.Tensor]:
    return [part for change in learned.lora.values() for part in (change.down, change.up)]


def test_steps_of_a_naive_reference_with_peft(generator: StableDiffusion, folder: Path):
    """As diffusers' script trains a LoRA: an adapter of peft, AdamW, clipped gradients."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    ours = tune(generator, SETTINGS, LESSON)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").requires_grad_(False)
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=targets))
    start = start_lora(generator.denoiser, 3, 5)
    state = {f"{name}.lora_A.weight": change.down for name, change in start.items()}
    state |= {f"{name}.lora_B.weight": change.up for name, change in start.items()}
    set_peft_model_state_dict(unet, state)
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01)
    schedule = DDPMScheduler.from_config(generator.scheduler_config)
    cache, balance = cache_latents(generator, IMAGES, flip=True), ClassBalance(LABELS, NAMES)
    losses = []
    for step in range(12):
        drawn = draw_batch(
            cache=cache, balance=balance, batch_size=8, num_timesteps=1000, seed=5, step=step
        )
        prompts = [f"a photo of a {NAMES[index]}" for index in drawn.classes]
        with torch.no_grad():
            text = generator.encode(generator.tokenize(prompts)).sequence
        noisy = schedule.add_noise(drawn.latents, drawn.noise, drawn.timesteps)
        loss = (unet(noisy, drawn.timesteps, text).sample - drawn.noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.param_groups[0]["lr"] = rate_at(step, 12, 0.01)
        optimizer.step()
        losses.append(loss.item())
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    theirs = get_peft_model_state_dict(unet)
    for name, change in ours.lora.items():
        down, up = (theirs[f"{name}.lora_{part}.weight"] for part in "AB")
        product = 2 * up @ down  # alpha / rank
        torch.testing.assert_close(change.up @ change.down, product, atol=1e-4, rtol=1e-2)
        assert product.abs().max() > 0.001  # it went somewhere


def test_the_rate_warms_up_and_falls_to_nothing():
    rates = [rate_at(step, 400, 1.0) for step in range(400)]  # as published, for a class
    assert rates[0] == 0.01 and rates[99] == rates[100] == 1 and rates[250] == pytest.approx(0.5)
    assert rates[399] < 1e-4 and rates[100:] == sorted(rates[100:], reverse=True)
    assert rate_at(100, 4000, 1.0) == 1 and rate_at(0, 1, 1.0) == 1


def test_the_loss_falls(generator: StableDiffusion):
    learned = tune(generator, SETTINGS.model_copy(update={"steps_per_class": 30}), LESSON)
    before, after = learned.fixed_noise_losses[0], learned.fixed_noise_losses[90]
    assert after < 0.99 * before and len(learned.losses) == 90


def test_divergence_is_a_sentence(generator: StableDiffusion):
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ValueError, match=r"no number; lower tune.learning_rate \(1e\+30\)"):
        tune(generator, settings, LESSON)


def test_nothing_but_the_lora_moves(generator: StableDiffusion):
    models = (*generator.text_encoders, generator.denoiser, generator.vae)
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    tune(generator, SETTINGS, LESSON)
    for model, weights in zip(models, before, strict=True):
        after = model.state_dict()
        assert after.keys() == weights.keys()
        assert all(torch.equal(after[key], weights[key]) for key in weights)
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(module._forward_hooks for module in model.modules())


def _die_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Kill the run at this call of the loss."""
    real, calls = TuningObjective.loss, []

    def loss(self, draw):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(self, draw)

    monkeypatch.setattr(TuningObjective, "loss", loss)


def test_a_killed_run_resumes_bit_for_bit(
    generator: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = tune(generator, SETTINGS, LESSON)
    checkpoint = Checkpoint(tmp_path / "run", num_steps=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _die_at(patch, 8)
        tune(generator, SETTINGS, LESSON, checkpoint)
    resumed = tune(generator, SETTINGS, LESSON, checkpoint)
    pairs = zip(tensors_of(resumed), tensors_of(whole), strict=True)
    assert all(torch.equal(own, other) for own, other in pairs)
    assert resumed.losses == whole.losses
    assert resumed.fixed_noise_losses == whole.fixed_noise_losses


def test_a_checkpoint_serves_no_other_task(generator: StableDiffusion, tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "run", num_steps=2)
    tune(generator, SETTINGS, LESSON, checkpoint)
    other = SETTINGS.model_copy(update={"alpha": 3})
    with pytest.raises(ValueError, match="is a checkpoint of another tuning"):
        tune(generator, other, LESSON, checkpoint)
    checkpoint.path.write_bytes(b"cut")
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        tune(generator, SETTINGS, LESSON, checkpoint)


def test_classes_learn_from_their_own_images_alone(
    generator: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    saved = [Checkpoint(tmp_path / f"{label}", num_steps=2) for label in range(3)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _die_at(patch, 9)  # in the second class: a class is 4 steps and 2 readings
        tune_classes(generator, SETTINGS, LESSON, saved)
    learned = tune_classes(generator, SETTINGS, LESSON, saved)
    own = Lesson(IMAGES[LABELS == 1], [0] * 4, ["dog"], flip=True)
    alone = tune(generator, SETTINGS, own)
    pairs = zip(tensors_of(learned[1]), tensors_of(alone), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert (tensors_of(learned[0])[1] != tensors_of(learned[1])[1]).any()
    assert [len(each.losses) for each in learned] == [4, 4, 4]
    lacking = Lesson(IMAGES[LABELS < 2], LABELS[LABELS < 2], NAMES, flip=True)
    with pytest.raises(ValueError, match="class 'sea lion' has no real image"):
        tune_classes(generator, SETTINGS, lacking, [Checkpoint(tmp_path / x) for x in "abc"])


def test_a_distilled_generator_is_warned_of(
    generator: StableDiffusion, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    say_if_distilled(generator)
    assert not capsys.readouterr().out
    monkeypatch.setattr(generator, "num_steps", (1, 4))
    say_if_distilled(generator)
    assert "was distilled to draw quickly" in capsys.readouterr().out
