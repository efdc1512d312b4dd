"""Schedules: our coefficients are what diffusers' schedulers do, step by step."""

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from synthbridge.diffusion.schedule import make_steps, noise_levels

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


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("num_steps", [1, 2, 5, 15, 20, 50])
@pytest.mark.parametrize("sampler", ["ddpm", "dpm++"])
def test_steps_as_diffusers(sampler: str, num_steps: int, config: dict):
    theirs = {"ddpm": DDPMScheduler, "dpm++": DPMSolverMultistepScheduler}[sampler]
    scheduler = theirs.from_config({**config, "clip_sample": False})
    scheduler.set_timesteps(num_steps)
    steps = make_steps(sampler, num_steps, config)
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()
    draws = torch.Generator().manual_seed(1)
    x = expected = torch.randn(1, 4, 4, 4, generator=draws)
    x_0_before = torch.zeros(())
    for i, (step, timestep) in enumerate(zip(steps, scheduler.timesteps, strict=True)):
        eps = torch.randn(x.shape, generator=draws)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i))
        x_0 = (x - step.sigma * eps) / step.alpha
        x = step.keep * x + step.clean * x_0 + step.before * x_0_before + step.noise * noise
        x_0_before = x_0
        expected = scheduler.step(
            eps, timestep, expected, generator=torch.Generator().manual_seed(i)
        ).prev_sample
        torch.testing.assert_close(x, expected, atol=1e-4, rtol=1e-4)


def test_noise_levels_fall_from_one_to_nearly_zero():
    levels = noise_levels(CONFIGS[0])
    assert levels.shape == (1000,)
    assert (levels.diff() < 0).all()
    assert levels[0] == pytest.approx(1 - 0.00085) and levels[-1] < 0.005


def test_more_steps_than_timesteps_are_refused():
    with pytest.raises(ValueError, match=r"num_steps is 1000, .* has 1000 timesteps"):
        make_steps("ddpm", 1000, CONFIGS[0])
