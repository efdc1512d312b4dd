"""Noise schedules: how much noise each timestep holds, and what a sampler does at each step.

Letters as in DPM-Solver++ (arXiv:2211.01095): x_t = alpha_t x_0 + sigma_t eps, and lambda_t =
log(alpha_t / sigma_t). Models that predict the noise or v have alpha_t^2 + sigma_t^2 = 1, those
that predict the flow alpha_t + sigma_t = 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from synthbridge.diffusion.settings import Sampler, count_steps

# What a denoiser says of x_t: the noise eps (arXiv:2006.11239), v = alpha eps - sigma x_0
# (arXiv:2202.00512, section 4), or the flow eps - x_0 (arXiv:2209.03003, arXiv:2403.03206).
Prediction = Literal["noise", "v", "flow"]


def prediction_kind(scheduler_config: dict[str, Any]) -> Prediction:
    """Return what a generator with this schedule predicts.

    Raises:
        ValueError: if it is anything else.
    """
    if scheduler_config.get("_class_name") == "FlowMatchEulerDiscreteScheduler":
        return "flow"
    name = scheduler_config.get("prediction_type", "epsilon")
    kinds: dict[str, Prediction] = {
        "epsilon": "noise",
        "v_prediction": "v",
        "flow_prediction": "flow",
    }
    if name not in kinds:
        raise ValueError(f"the generator predicts {name}; we know {', '.join(kinds)}")
    return kinds[name]


def find_clean(
    kind: Prediction, predicted: torch.Tensor, x: torch.Tensor, alpha: float, sigma: float
) -> torch.Tensor:
    """Return x_0 of x = alpha x_0 + sigma eps, by what the denoiser says of x."""
    if kind == "noise":
        return torch.sub(x, predicted, alpha=sigma).div_(alpha)
    if kind == "v":  # alpha x - sigma v = (alpha^2 + sigma^2) x_0
        return torch.mul(x, alpha).sub_(predicted, alpha=sigma)
    return torch.sub(x, predicted, alpha=sigma)  # x - sigma (eps - x_0) = (alpha + sigma) x_0


def training_target(
    kind: Prediction,
    clean: torch.Tensor,
    noise: torch.Tensor,
    alpha: torch.Tensor,
    sigma: torch.Tensor,
) -> torch.Tensor:
    """Return what the denoiser should say of alpha clean + sigma noise; all broadcast."""
    if kind == "noise":
        return noise
    if kind == "v":
        return alpha * noise - sigma * clean
    return noise - clean


@dataclass(frozen=True)
class Levels:
    """How much of the image and of the noise each training timestep holds."""

    timesteps: torch.Tensor  # (T,), as the denoiser takes them
    alphas: torch.Tensor  # (T,) float32
    sigmas: torch.Tensor  # (T,) float32


def training_levels(scheduler_config: dict[str, Any]) -> Levels:
    """Return the levels that a generator was trained at, which are drawn from uniformly."""
    if prediction_kind(scheduler_config) == "flow":
        num_timesteps = scheduler_config.get("num_train_timesteps", 1000)
        sigmas = torch.arange(1, num_timesteps + 1) / num_timesteps
        shift = _flow_shift(scheduler_config)
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)  # arXiv:2403.03206, eq. 23
        return Levels(sigmas * num_timesteps, 1 - sigmas, sigmas)
    levels = noise_levels(scheduler_config)
    return Levels(torch.arange(len(levels)), levels.sqrt(), (1 - levels).sqrt())


def _flow_shift(scheduler_config: dict[str, Any]) -> float:
    """Return the shift that does not depend on the image's size, by either of its names."""
    return scheduler_config.get("flow_shift", scheduler_config.get("shift", 1.0))


@dataclass(frozen=True)
class Step:
    """One denoising step, as plain numbers: all samplers are linear in what they combine.

    x_next = keep x + clean x_0 + before x_0(of the step before) + noise z,  z ~ N(0, 1)
    """

    timestep: int | float  # as the denoiser takes it
    alpha: float
    sigma: float
    keep: float
    clean: float
    before: float = 0.0
    noise: float = 0.0
    start: float = 1.0  # what noise alone is multiplied by to begin here


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

    Which timesteps are visited is read from `scheduler_config` as diffusers does: its
    `timestep_spacing`, a schedule of `rescale_betas_zero_snr` (arXiv:2305.08891), a flow's shift.
    Latents are never clipped or thresholded (a setting that diffusers keeps for models of pixels).

    Args:
        sampler: how a step is made.
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
    if prediction_kind(scheduler_config) == "flow":
        return _flow_steps(sampler, num_steps, scheduler_config, first)
    if sampler == "dpm++":
        return _dpm_solver_steps(num_steps, scheduler_config, first)
    make = {
        "ddpm": _ddpm_steps,
        "euler": _euler_steps,
        "euler_ancestral": _euler_ancestral_steps,
        "lcm": _lcm_steps,
    }[sampler]
    return make(num_steps, scheduler_config)[first:]


def _ddpm_steps(num_steps: int, scheduler_config: dict[str, Any]) -> list[Step]:
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
    return steps


def _dpm_solver_steps(num_steps: int, scheduler_config: dict[str, Any], first: int) -> list[Step]:
    """DPM-Solver++(2M), the paper's algorithm 2; first order at the first and the last step."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    scheduler = _read(DPMSolverMultistepScheduler, scheduler_config)
    scheduler.set_timesteps(num_steps)
    ratios = scheduler.sigmas.double().tolist()  # sigma_t / alpha_t, num_steps + 1, 0 at the end
    alphas = [1 / math.sqrt(1 + ratio**2) for ratio in ratios]
    sigmas = [ratio * alpha for ratio, alpha in zip(ratios, alphas, strict=True)]
    return _multistep(scheduler.timesteps.tolist(), alphas, sigmas, ratios, first)


def _multistep(
    timesteps: Sequence[int | float],
    alphas: Sequence[float],
    sigmas: Sequence[float],
    ratios: Sequence[float],
    first: int,
) -> list[Step]:
    """List the steps of DPM-Solver++(2M) from `first` on; `ratios` are sigmas / alphas."""
    steps = []
    for i, timestep in enumerate(timesteps):
        # h = lambda_next - lambda_t, so exp(-h) is a ratio of ratios, and 0 at the end.
        clean, before = alphas[i + 1] * (1 - ratios[i + 1] / ratios[i]), 0.0
        if first < i < len(timesteps) - 1:
            h = math.log(ratios[i] / ratios[i + 1])
            r = math.log(ratios[i - 1] / ratios[i]) / h
            clean, before = clean * (1 + 1 / (2 * r)), -clean / (2 * r)
        keep = sigmas[i + 1] / sigmas[i]
        steps.append(Step(timestep, alphas[i], sigmas[i], keep, clean, before))
    return steps[first:]


def _euler_steps(num_steps: int, scheduler_config: dict[str, Any]) -> list[Step]:
    """Euler's method on the probability-flow ODE (arXiv:2206.00364, algorithm 1 without churn).

    It goes on a line in x_t / alpha_t, whose noise is r_t = sigma_t / alpha_t.
    """
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    scheduler = _read(EulerDiscreteScheduler, scheduler_config)
    scheduler.set_timesteps(num_steps)
    return _steps_by_ratio(scheduler, lambda r, r_next: (r_next, 0.0))


def _euler_ancestral_steps(num_steps: int, scheduler_config: dict[str, Any]) -> list[Step]:
    """Ancestral sampling with Euler's method, as k-diffusion's `get_ancestral_step` with eta 1."""
    from diffusers.schedulers.scheduling_euler_ancestral_discrete import (
        EulerAncestralDiscreteScheduler,
    )

    def down_and_up(r: float, r_next: float) -> tuple[float, float]:
        up = r_next * math.sqrt(r**2 - r_next**2) / r
        return math.sqrt(r_next**2 - up**2), up

    scheduler = _read(EulerAncestralDiscreteScheduler, scheduler_config)
    scheduler.set_timesteps(num_steps)
    return _steps_by_ratio(scheduler, down_and_up)


def _steps_by_ratio(
    scheduler: Any, down_and_up: Callable[[float, float], tuple[float, float]]
) -> list[Step]:
    """List the steps of a scheduler that works in x_t / alpha_t.

    Args:
        scheduler: of diffusers, with its timesteps set.
        down_and_up: of r and the next r, how far a step goes down, and the noise that it then adds.
    """
    ratios = scheduler.sigmas.double().tolist()  # num_steps + 1, 0 at the end
    alphas = [1 / math.sqrt(1 + ratio**2) for ratio in ratios]
    # Noise alone begins as if a trace of the image was in it ("leading"), or without.
    is_bare = scheduler.config["timestep_spacing"] in ("linspace", "trailing")
    steps = []
    for i, timestep in enumerate(scheduler.timesteps.tolist()):
        r, alpha, alpha_next = ratios[i], alphas[i], alphas[i + 1]
        down, up = down_and_up(r, ratios[i + 1])
        steps.append(
            Step(
                timestep,
                alpha=alpha,
                sigma=r * alpha,
                keep=alpha_next / alpha * down / r,
                clean=alpha_next * (1 - down / r),
                noise=alpha_next * up,
                start=r * alpha if is_bare else 1.0,
            )
        )
    return steps


def _lcm_steps(num_steps: int, scheduler_config: dict[str, Any]) -> list[Step]:
    """Multistep consistency sampling of latent consistency models (arXiv:2310.04378, alg. 3).

    Raises:
        ValueError: if there are more steps than the model was distilled at.
    """
    from diffusers.schedulers.scheduling_lcm import LCMScheduler

    scheduler = _read(LCMScheduler, scheduler_config)
    most = scheduler.config["original_inference_steps"]
    if num_steps > most:
        raise ValueError(
            f"generate.num_steps is {num_steps}, and the generator was distilled at {most} "
            "timesteps; choose fewer steps, 4 to 8 as a rule"
        )
    scheduler.set_timesteps(num_steps)
    timesteps = scheduler.timesteps.tolist()
    bars = scheduler.alphas_cumprod.double()[timesteps].tolist()
    steps = []
    for timestep, bar, bar_next in zip(timesteps, bars, [*bars[1:], 1.0], strict=True):
        # c_skip and c_out of the consistency function, eq. 9, with sigma_data = 0.5.
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        steps.append(
            Step(
                timestep,
                alpha=math.sqrt(bar),
                sigma=math.sqrt(1 - bar),
                keep=math.sqrt(bar_next) * skip,
                clean=math.sqrt(bar_next) * out,
                noise=math.sqrt(1 - bar_next),
            )
        )
    return steps


def _flow_steps(
    sampler: Sampler, num_steps: int, scheduler_config: dict[str, Any], first: int
) -> list[Step]:
    """List the steps of a flow with a shift that does not depend on the image's size.

    Raises:
        ValueError: if the sampler is none for a flow.
    """
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
        FlowMatchEulerDiscreteScheduler,
    )

    shift = _flow_shift(scheduler_config)
    if sampler == "euler":
        scheduler = _read(FlowMatchEulerDiscreteScheduler, {**scheduler_config, "shift": shift})
        scheduler.set_timesteps(num_steps)
        return flow_steps(scheduler.sigmas.tolist(), scheduler.timesteps.tolist())[first:]
    if sampler != "dpm++":
        raise ValueError(f"generate.sampler is {sampler}, and a flow takes euler or dpm++")
    as_flow = {
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": shift,
    }
    scheduler = _read(DPMSolverMultistepScheduler, {**scheduler_config, **as_flow})
    scheduler.set_timesteps(num_steps)
    sigmas = scheduler.sigmas.double().tolist()
    alphas = [1 - sigma for sigma in sigmas]
    ratios = [sigma / alpha for sigma, alpha in zip(sigmas, alphas, strict=True)]
    return _multistep(scheduler.timesteps.tolist(), alphas, sigmas, ratios, first)


def flow_steps(sigmas: Sequence[float], timesteps: Sequence[float]) -> list[Step]:
    """Return Euler's steps down a flow: x_next = x + (sigma_next - sigma) (eps - x_0).

    Args:
        sigmas: at the start of each step, falling, and the 0 that the last one ends at.
        timesteps: of each step, as the denoiser takes them.
    """
    steps = []
    for timestep, sigma, next_sigma in zip(timesteps, sigmas, sigmas[1:], strict=False):
        keep = next_sigma / sigma  # eps - x_0 = (x - x_0) / sigma
        steps.append(Step(timestep, 1 - sigma, sigma, keep, clean=1 - keep))
    return steps
