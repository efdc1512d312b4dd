"""Few-step models: what a generator's folder says of how it was distilled, and what that forbids.

A distilled model draws in one to eight steps, with guidance built in: it knows only the steps and
the guidance that its teacher showed it. The publishers' own words, read from the models' pages:

    Turbo      SDXL-Turbo, SD-Turbo: 1-4 steps, Euler (ancestral), `trailing`, guidance off
    Lightning  SDXL-Lightning: the number of steps in the file's name, Euler, `trailing`, off
    LCM        with an embedded scale (LCM_Dreamshaper_v7, lcm-sdxl): 1-8 steps, LCM's sampler
    LCM-LoRA   without one: as LCM, guidance off or up to 2
    schnell    FLUX.1-schnell: 1-4 steps, Euler, guidance off
    klein      FLUX.2-klein (`is_distilled`): 4 steps, Euler, guidance off
    Z-Image    Z-Image-Turbo: 8 steps, Euler, guidance off

Where a publisher names fewer than 8 steps, up to 8 are taken; of Z-Image-Turbo up to 16.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthbridge.core.files import read_json

Guidance = Literal["classifier-free", "embedded", "none"]
Sampler = Literal["euler", "euler_ancestral", "lcm"]
Method = Literal["lcm", "lightning"]  # of weights that stand alone: their scheduler

# Beside model_index.json where params.yaml says how the model was distilled, or that it was not.
RECORD = "distilled.json"
EULER = ("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler")
MAX_EMBEDDED = 15.0  # LCM learns scales of 3 to 15, as diffusers counts them (arXiv:2310.04378)


@dataclass(frozen=True)
class Distillation:
    """How a generator was distilled, and which settings it then takes."""

    name: str  # what people call it
    samplers: tuple[Sampler, ...]  # the publisher's first
    num_steps: tuple[int, int]  # the fewest and the most
    guidance: Guidance
    max_scale: float  # of guidance; 1 = off


def of_method(method: Method, file: str, *, embeds_scale: bool = False) -> Distillation:
    """Return what weights of a file are, by the method that params.yaml names.

    Args:
        method: how they were distilled.
        file: its name says the number of steps (sdxl_lightning_4step_unet.safetensors).
        embeds_scale: whether the UNet is told the guidance scale.

    Raises:
        ValueError: if they predict the image itself, as Lightning's one-step UNet does.
    """
    if method == "lcm":
        return _lcm(embeds_scale)
    named = re.search(r"(\d+)[-_ ]?step", file)
    steps = int(named[1]) if named else None
    if steps == 1 or "_x0" in file:
        raise ValueError(
            f"{file} predicts the image itself, which is not supported; choose the weights for 2, "
            "4 or 8 steps (sdxl_lightning_4step_unet.safetensors)"
        )
    return Distillation("Lightning", ("euler",), (steps, steps) if steps else (1, 8), "none", 1.0)


def _lcm(embeds_scale: bool) -> Distillation:
    if embeds_scale:
        return Distillation("LCM", ("lcm",), (1, 8), "embedded", MAX_EMBEDDED)
    return Distillation("LCM", ("lcm",), (1, 8), "classifier-free", 2.0)


def read_distillation(folder: Path) -> Distillation | None:
    """Say how the generator in `folder` was distilled, by its configurations; None: it was not."""
    record = _read(folder / RECORD)
    if record and record["method"] is None:
        return None
    scheduler = _read(folder / "scheduler" / "scheduler_config.json")
    if scheduler.get("_class_name") == "FlowMatchEulerDiscreteScheduler":
        return _of_flow(folder, scheduler.get("shift"))
    embeds_scale = bool(_read(folder / "unet" / "config.json").get("time_cond_proj_dim"))
    if record:
        return of_method(record["method"], record["file"], embeds_scale=embeds_scale)
    kind = scheduler.get("_class_name")
    if kind == "LCMScheduler" or embeds_scale:
        return _lcm(embeds_scale)
    # Schedules with zero terminal SNR are `trailing` too, in models that are not distilled.
    is_trailing = scheduler.get("timestep_spacing") == "trailing"
    is_plain = scheduler.get("prediction_type", "epsilon") == "epsilon"
    if kind in EULER and is_trailing and is_plain and not scheduler.get("rescale_betas_zero_snr"):
        samplers: tuple[Sampler, ...] = ("euler", "euler_ancestral")
        if kind == "EulerAncestralDiscreteScheduler":
            samplers = ("euler_ancestral", "euler")
        return Distillation("Turbo", samplers, (1, 8), "none", 1.0)
    return None


def _of_flow(folder: Path, shift: float | None) -> Distillation | None:
    """Say how a flow-matching generator was distilled, whose schedule is shifted by `shift`."""
    index = _read(folder / "model_index.json")
    kind = index.get("_class_name")
    is_told_scale = _read(folder / "transformer" / "config.json").get("guidance_embeds")
    if kind == "FluxPipeline" and not is_told_scale:  # FLUX.1-dev is told
        return Distillation("FLUX.1-schnell", ("euler",), (1, 8), "none", 1.0)
    if kind == "Flux2KleinPipeline" and index.get("is_distilled"):
        return Distillation("FLUX.2-klein", ("euler",), (1, 8), "none", 1.0)
    # Nothing else in its configurations tells Turbo from its base, which is shifted by 6.
    if kind == "ZImagePipeline" and shift == 3.0:
        return Distillation("Z-Image-Turbo", ("euler",), (1, 16), "none", 1.0)
    return None


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def sampling_faults(
    distillation: Distillation | None, sampler: str, num_steps: int
) -> Iterator[str]:
    """Say what section `generate` asks of a distilled generator in vain, a sentence each."""
    if distillation is None:
        if sampler == "lcm":
            yield (
                "generate.sampler is lcm, which only LCM models take, and the generator is none; "
                "choose dpm++ or ddpm"
            )
        return
    what = f"the generator is a {distillation.name} model"
    fewest, most = distillation.num_steps
    if sampler not in distillation.samplers:
        yield (
            f"generate.sampler is {sampler}, but {what}, which takes "
            f"{' or '.join(distillation.samplers)}; choose {distillation.samplers[0]}"
        )
    if not fewest <= num_steps <= most:
        steps = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        yield (
            f"generate.num_steps is {num_steps}, but {what}, distilled to {steps} steps; choose "
            f"{min(most, 4) if fewest < most else most}"
        )


def set_faults(
    distillation: Distillation | None, where: str, scale: float, *, learns: str | None
) -> Iterator[str]:
    """Say what a set asks of a distilled generator in vain, a sentence each.

    Args:
        distillation: the generator's.
        where: the set's key ("synthetic.dsi_4").
        scale: its guidance.
        learns: the words that it learns in the generator; None: none. (A LoRA is only warned of:
            it serves where no word can be learned, and its samples show what it undoes.)
    """
    if distillation is None:
        return
    what, most = f"the generator is a {distillation.name} model", distillation.max_scale
    if scale > most:
        rule = {
            "none": "which draws without guidance; write 1",
            "classifier-free": f"which takes guidance up to {most:g}; write 1",
            "embedded": f"which is told a scale up to {most:g}; write 8",
        }[distillation.guidance]
        yield f"{where}.guidance_scale is {scale:g}, but {what}, {rule}"
    if learns:
        yield (
            f"{where} learns {learns}, but {what}: it no longer predicts at every noise level, and "
            "what is learned there says little; choose template, contextual or a file's prompts, "
            "tune a LoRA, or draw with the model that it was distilled from"
        )
