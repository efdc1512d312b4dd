"""Every family of generators in small, and a job for its stages: invert, plan, generate.

python tests/families.py FOLDER OUT     the job of every family below FOLDER, as `write_all`
                                        left them; a launcher starts it in several processes
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import EulerAncestralDiscreteScheduler, LCMScheduler
from diffusion.conftest import make_variant, write_stable_diffusion
from diffusion.tiny_sdxl import SCHEDULE, write_sdxl
from tiny_flow import SAVED, save_flux

from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.diffusion.settings import (
    InversionSettings,
    Sampler,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
)

CLASS_NAMES = ("cat", "dog")


@dataclass(frozen=True)
class Family:
    """How a family's tiny model is made, and how it is drawn with."""

    write: Callable[[Path], Path]  # (an empty folder) -> the generator's folder
    sampler: Sampler
    guidance_scale: float = 3.5
    has_words: bool = True  # a word can be learned in it
    tuned: str | None = None  # what each LoRA is of, in the place of images to start from


def _variant(name: str, folder: Path) -> Path:
    return make_variant(write_stable_diffusion(folder), name)


TURBO = EulerAncestralDiscreteScheduler.from_config({**SCHEDULE, "timestep_spacing": "trailing"})
TOLD_SCALE = {"time_cond_proj_dim": 32}  # as LCM's UNet is

FAMILIES = {
    "noise": Family(write_stable_diffusion, "ddpm"),
    "v": Family(partial(_variant, "v, zero SNR"), "euler_ancestral"),
    "flow": Family(partial(_variant, "flow"), "dpm++"),
    "sdxl": Family(write_sdxl, "euler"),
    "turbo": Family(
        partial(write_sdxl, scheduler=TURBO),
        "euler_ancestral",
        guidance_scale=1.0,
        has_words=False,
    ),
    "lcm": Family(
        partial(write_sdxl, scheduler=LCMScheduler.from_config(SCHEDULE), unet=TOLD_SCALE),
        "lcm",
        guidance_scale=8.0,
        has_words=False,
    ),
    "sd3": Family(SAVED["sd3"], "euler", has_words=False),
    "flux": Family(SAVED["schnell"], "euler", guidance_scale=1.0, has_words=False),
    "flux-dev": Family(partial(save_flux, guidance_embeds=True), "euler", has_words=False),
    "flux2": Family(SAVED["klein-base"], "euler", has_words=False),
    "noise, tuned": Family(write_stable_diffusion, "dpm++", has_words=False, tuned="class"),
    "flux2, tuned": Family(SAVED["klein-base"], "euler", has_words=False, tuned="dataset"),
    "z-image": Family(SAVED["z-image-turbo"], "euler", guidance_scale=1.0, has_words=False),
}
INVERT = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=2,
    batch_size=2,
    learning_rate=0.05,
    samples_per_class=1,
    seed=0,
)
TUNE = TuneSettings(rank=2, alpha=2, steps_per_class=2, batch_size=2, learning_rate=0.05, seed=0)


def sampling(family: Family) -> SamplingSettings:
    """Return `generate` in params.yaml: two images of a class in a shard and in a block."""
    return SamplingSettings(
        sampler=family.sampler,
        num_steps=4,
        guided_fraction=1.0,
        jpeg_quality=95,
        images_per_block=2,
        classes_per_shard=1,
        seed=0,
    )


def synthetic(family: Family, images_per_class: int) -> SyntheticSettings:
    """Return a set that starts from real images or draws with LoRAs: of a style token or a file."""
    of_kind = (
        {"prompts": "dsi"} if family.has_words else {"prompts": "file", "prompt_file": "a.json"}
    )
    values = {
        **of_kind,
        "shots": 2,
        **({"tuned": family.tuned} if family.tuned else {"image_strength": 0.5}),
        "guidance_scale": family.guidance_scale,
        "images_per_class": images_per_class,
    }
    return SyntheticSettings.model_validate(values)


def write_all(folder: Path) -> Path:
    """Write the generator of every family, real images and prompts; returns `folder`."""
    for name, family in FAMILIES.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "where.txt").write_text(str(family.write(folder / name / "model")))
    draws = np.random.default_rng(0)
    samples = [
        {
            "__key__": f"k{index}",
            "png": encode_png(draws.integers(0, 256, (20, 16, 3), dtype=np.uint8)),
            "cls": index % 2,
            "json": {"name": f"{index}"},
        }
        for index in range(4)
    ]
    write_shard(folder / "real/train-00000.tar", samples)
    counts = {"train": 4, "validation": 0, "test": 0}
    values = {"class_names": CLASS_NAMES, "image_size": 16, "flip": False, "counts": counts}
    write_json(folder / "real/dataset.json", values)
    write_json(folder / "real/few_shot.json", [[["0", "2"], ["1", "3"]]])
    (folder / "prompts").mkdir()
    prompts = {name: [f"a photo of a {name}", f"my {name}"] for name in CLASS_NAMES}
    (folder / "prompts/a.json").write_text(json.dumps(prompts))
    return folder


def generator_of(folder: Path, name: str) -> Path:
    """Return where `write_all` left a family's generator."""
    return Path((folder / name / "where.txt").read_text())


def run_stages(folder: Path, name: str, out: Path, images_per_class: int = 4) -> Path:
    """Run the stages of one family into `out`; returns it."""
    from synthbridge.stages.generate import generate
    from synthbridge.stages.invert import InvertParams, invert
    from synthbridge.stages.plan import PlanInputs, PlanParams, plan

    family, model, real = FAMILIES[name], generator_of(folder, name), folder / "real"
    settings = synthetic(family, images_per_class)
    params = InvertParams(INVERT, TUNE, sampling(family), settings, [0])
    invert(params, real=real, generator=model, clip=folder / "clip", out=out / "style")
    planning = PlanParams(
        dataset="animals",
        source="folder",
        synthetic=settings,
        placeholder=INVERT.placeholder,
        images_per_block=2,
    )
    inputs = PlanInputs(real, out / "style", folder / "clip", model, folder / "prompts")
    if os.environ.get("RANK", "0") == "0":  # a stage of one process
        plan(planning, inputs, out=out / "plan", num_blocks=2)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    for block in ("b0", "b1"):
        generate(
            sampling(family),
            plan=out / f"plan/{block}.json",
            style=out / "style",
            generator=model,
            out=out / block,
        )
    return out


def main(arguments: Sequence[str]) -> None:
    """Run the stages of all families, in one group of processes."""
    end_training = Accelerator.end_training
    Accelerator.end_training = lambda self: None  # the next stage has the same group
    folder, out = map(Path, arguments)
    for name in FAMILIES:
        run_stages(folder, name, out / name)
    end_training(Accelerator(cpu=True))


if __name__ == "__main__":
    main(sys.argv[1:])
