"""Noise schedules: how much noise each timestep holds, and what a sampler does at each step.

Letters as in DPM-Solver++ (arXiv:2211.01095): x_t = alpha_t x_0 + sigma_t eps, with
alpha_t^2 + sigma_t^2 = 1, and lambda_t = log(alpha_t / sigma_t).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from synthbridge.diffusion.settings import Sampler, count_steps


@dataclass(frozen=True)
class Step:
    """One denoising step, as plain numbers: both samplers are linear in what they combine.

    x_next = keep x + clean x_0 + before x_0(of the step before) + noise z,  z ~ N(0, 1)
    """

    timestep: int
    alpha: float
    sigma: float
    keep: float
    clean: float
    before: float = 0.0
    noise: float = 0.0


def noise_levels(scheduler_config: dict[str, Any]) -> torch.Tensor:
    """Return alpha_t^2 of every training timestep (T,), float32, falling."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return _read(DDPMScheduler, scheduler_config).alphas_cumprod


def _read(scheduler: Any, scheduler_config: dict[str, Any]) -> Any:
    """Make a scheduler of diffusers, for its timesteps (Any: typed there as perhaps a tuple)."""
    return scheduler.from_config(scheduler_config)


def make_steps(
    sampler: Sampler,
    num_steps: int,
    scheduler_config: dict[str, Any],
    image_strength: float | None = None,
) -> list[Step]:
    """List the steps of `sampler` from pure noise to an image, or the last ones of them.

    Which timesteps are visited is read from `scheduler_config` as diffusers does. Latents are never
    clipped or thresholded (a setting that diffusers keeps for models of pixels).

    Args:
        sampler: `ddpm` or `dpm++`.
        num_steps: from pure noise.
        scheduler_config: of the generator.
        image_strength: the fraction of the steps, the last ones, that turn a noised real image into
            another; null = all, from noise alone.

    Raises:
        ValueError: if the schedule has fewer timesteps than `num_steps`, or no step is left.
    """
    first = num_steps - count_steps(num_steps, image_strength)
    num_timesteps = scheduler_config.get("num_train_timesteps", 1000)
    if num_steps >= num_timesteps:
        raise ValueError(
            f"generate.num_steps is {num_steps}, and the generator's noise schedule has "
            f"{num_timesteps} timesteps; choose fewer steps"
        )
    make = {"ddpm": _ddpm_steps, "dpm++": _dpm_solver_steps}[sampler]
    return make(num_steps, scheduler_config, first)


def _ddpm_steps(num_steps: int, scheduler_config: dict[str, Any], first: int) -> list[Step]:
    """Ancestral sampling: the posterior q(x_s | x_t, x_0) of DDPM (arXiv:2006.11239), eq. 7."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = _read(DDPMScheduler, scheduler_config)
    scheduler.set_timesteps(num_steps)
    timesteps = scheduler.timesteps.tolist()
    # Products of alpha up to each timestep (the paper's alpha bar); 1 after the last step.
    bars = [*scheduler.alphas_cumprod.double()[timesteps].tolist(), 1.0]
    steps = []
    for timestep, bar, bar_next in zip(timesteps, bars, bars[1:], strict=False):
        beta = 1 - bar / bar_next
        steps.append(
            Step(
                timestep,
                alpha=math.sqrt(bar),
                sigma=math.sqrt(1 - bar),
                keep=math.sqrt(bar / bar_next) * (1 - bar_next) / (1 - bar),
                clean=math.sqrt(bar_next) * beta / (1 - bar),
                noise=math.sqrt((1 - bar_next) / (1 - bar) * beta),
            )
        )
    return steps[first:]


def _dpm_solver_steps(num_steps: int, scheduler_config: dict[str, Any], first: int) -> list[Step]:
    """DPM-Solver++(2M), the paper's algorithm 2; first order at the first and the last step."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    scheduler = _read(DPMSolverMultistepScheduler, scheduler_config)
    scheduler.set_timesteps(num_steps)
    ratios = scheduler.sigmas.double().tolist()  # sigma_t / alpha_t, num_steps + 1, 0 at the end
    alphas = [1 / math.sqrt(1 + ratio**2) for ratio in ratios]
    sigmas = [ratio * alpha for ratio, alpha in zip(ratios, alphas, strict=True)]
    steps = []
    for i, timestep in enumerate(scheduler.timesteps.tolist()):
        # h = lambda_next - lambda_t, so exp(-h) is a ratio of ratios, and 0 at the end.
        clean, before = alphas[i + 1] * (1 - ratios[i + 1] / ratios[i]), 0.0
        if first < i < num_steps - 1:
            h = math.log(ratios[i] / ratios[i + 1])
            r = math.log(ratios[i - 1] / ratios[i]) / h
            clean, before = clean * (1 + 1 / (2 * r)), -clean / (2 * r)
        keep = sigmas[i + 1] / sigmas[i]
        steps.append(Step(timestep, alphas[i], sigmas[i], keep, clean, before))
    return steps[first:]
