"""Schedules: our coefficients are what diffusers' schedulers do, step by step."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)

from synthbridge.diffusion.schedule import (
    Prediction,
    Step,
    find_clean,
    make_steps,
    noise_levels,
    prediction_kind,
    training_levels,
    training_target,
)

CONFIGS = (
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    # What Stable Diffusion 1.5's folder says.
    {
        "_class_name": "PNDMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
        "clip_sample": False,
    },
)


SCHEDULERS: dict[str, Any] = {
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
    "lcm": LCMScheduler,
}
IN_RATIOS = ("euler", "euler_ancestral")  # diffusers keeps x_t / alpha_t
ZERO_SNR = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def compare_steps(
    steps: list[Step],
    scheduler: Any,
    kind: Prediction,
    *,
    in_ratios: bool = False,
    tolerance: float = 1e-4,
):
    """Take `steps` and the scheduler's, with the same predictions and noise, and compare each x."""
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()
    draws = torch.Generator().manual_seed(1)
    noise = torch.randn(1, 4, 4, 4, generator=draws)
    x, expected = noise * steps[0].start, noise * getattr(scheduler, "init_noise_sigma", 1.0)
    x_0_before = torch.zeros(())
    alphas = [*(step.alpha for step in steps[1:]), 1.0]
    for i, (step, timestep) in enumerate(zip(steps, scheduler.timesteps, strict=True)):
        if in_ratios:
            scheduler.scale_model_input(expected, timestep)  # else it warns
        predicted = torch.randn(x.shape, generator=draws)
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(i))
        x_0 = find_clean(kind, predicted, x, step.alpha, step.sigma)
        x = step.keep * x + step.clean * x_0 + step.before * x_0_before + step.noise * z
        x_0_before = x_0
        chance = {"generator": torch.Generator().manual_seed(i)}
        expected = scheduler.step(predicted, timestep, expected, **chance).prev_sample
        theirs = expected * alphas[i] if in_ratios else expected
        torch.testing.assert_close(x, theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("num_steps", [1, 2, 5, 15, 20, 50])
@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_steps_as_diffusers(sampler: Any, num_steps: int, config: dict):
    scheduler = SCHEDULERS[sampler].from_config({**config, "clip_sample": False})
    scheduler.set_timesteps(num_steps)
    steps = make_steps(sampler, num_steps, config)
    compare_steps(steps, scheduler, "noise", in_ratios=sampler in IN_RATIOS)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("num_steps", [4, 25])
@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_steps_of_v_as_diffusers(sampler: Any, num_steps: int, spacing: str, zero_snr: bool):
    config = {**CONFIGS[0], **ZERO_SNR, "timestep_spacing": spacing}
    config["rescale_betas_zero_snr"] = zero_snr
    scheduler = SCHEDULERS[sampler].from_config({**config, "clip_sample": False})
    scheduler.set_timesteps(num_steps)
    steps = make_steps(sampler, num_steps, config)
    in_ratios = sampler in IN_RATIOS
    # Their x / alpha is 4096 at zero SNR, where float32 rounds by 2e-4.
    tolerance = 1e-3 if in_ratios and zero_snr else 1e-4
    compare_steps(steps, scheduler, "v", in_ratios=in_ratios, tolerance=tolerance)


def test_a_schedule_of_zero_snr_begins_at_noise_alone():
    config = {**CONFIGS[0], **ZERO_SNR}
    first = make_steps("ddpm", 20, config)[0]
    assert (first.alpha, first.sigma, first.keep) == (0.0, 1.0, 0.0)
    assert noise_levels(config)[-1] == 0.0
    # diffusers' other schedulers leave a trace, so that sigma / alpha is a number.
    assert make_steps("dpm++", 20, config)[0].alpha == pytest.approx(2**-12)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("num_steps", [1, 4, 20])
def test_steps_of_a_flow_as_diffusers(num_steps: int, shift: float):
    euler = FlowMatchEulerDiscreteScheduler(shift=shift)
    euler.set_timesteps(num_steps)
    steps = make_steps("euler", num_steps, dict(euler.config, _class_name=type(euler).__name__))
    compare_steps(steps, euler, "flow")
    solver = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    solver.set_timesteps(num_steps)
    compare_steps(make_steps("dpm++", num_steps, dict(solver.config)), solver, "flow")
    with pytest.raises(ValueError, match="sampler is lcm, and a flow takes euler or dpm"):
        make_steps("lcm", num_steps, dict(solver.config))


def test_more_steps_than_a_model_was_distilled_at_are_refused():
    with pytest.raises(ValueError, match="num_steps is 51, and the .* distilled at 50 timesteps"):
        make_steps("lcm", 51, CONFIGS[0])


@pytest.mark.parametrize("kind", ["noise", "v", "flow"])
def test_the_training_target_gives_the_image_back(kind: Prediction):
    config = {
        "noise": CONFIGS[0],
        "v": {**CONFIGS[0], "prediction_type": "v_prediction"},
        "flow": {"prediction_type": "flow_prediction", "flow_shift": 3.0},
    }[kind]
    assert prediction_kind(config) == kind
    levels = training_levels(config)
    assert len(levels.timesteps) == len(levels.alphas) == len(levels.sigmas) == 1000
    assert (levels.sigmas.diff() > 0).all() and (levels.alphas.diff() < 0).all()
    clean, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    alpha, sigma = levels.alphas[600], levels.sigmas[600]
    target = training_target(kind, clean, noise, alpha, sigma)
    x = alpha * clean + sigma * noise
    found = find_clean(kind, target, x, float(alpha), float(sigma))
    torch.testing.assert_close(found, clean, atol=1e-5, rtol=1e-5)


def test_training_levels_of_a_flow_are_diffusers_own():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    levels = training_levels({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    torch.testing.assert_close(levels.sigmas.flip(0), scheduler.sigmas)
    torch.testing.assert_close(levels.timesteps.flip(0), scheduler.timesteps)


def test_another_prediction_is_refused():
    with pytest.raises(ValueError, match="predicts sample; we know epsilon, v_prediction, flow"):
        prediction_kind({"prediction_type": "sample"})


def test_noise_levels_fall_from_one_to_nearly_zero():
    levels = noise_levels(CONFIGS[0])
    assert levels.shape == (1000,)
    assert (levels.diff() < 0).all()
    assert levels[0] == pytest.approx(1 - 0.00085) and levels[-1] < 0.005


def test_more_steps_than_timesteps_are_refused():
    with pytest.raises(ValueError, match=r"num_steps is 1000, .* has 1000 timesteps"):
        make_steps("ddpm", 1000, CONFIGS[0])
