"""Stage `generate`: prompts of one block become shards of labelled synthetic images."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, progress
from synthbridge.core.settings import Sections
from synthbridge.core.shares import end_share
from synthbridge.core.units import copy_unit, unit_path
from synthbridge.data.shard_writing import write_units
from synthbridge.data.synthetic import (
    ALL,
    PlannedShard,
    StartImages,
    plan_shards,
    read_start_images,
)
from synthbridge.diffusion.prompts import draw_prompt, image_seed
from synthbridge.diffusion.settings import SamplingSettings

BATCH_SIZE = 64  # images denoised at once; part of the key, as rounding depends on it


@dataclass(frozen=True)
class Block:
    """What `plan` says of one block, and the generator's hash."""

    plan: dict[str, Any]
    generator_hash: str

    def num_images(self) -> int:
        """Count the images of all classes and subsets."""
        per_subset = len(self.plan["class_names"]) * (self.plan["stop"] - self.plan["start"])
        return per_subset * len(self.plan["styles"])

    def candidates(self, subset: str, label: int) -> list[str]:
        """Return the prompts that an image of a class draws one of."""
        if "prompts_by_subset" in self.plan:  # class names chosen by each seed's own shots
            return self.plan["prompts_by_subset"][subset][label]
        return self.plan["prompts"][label]


@dataclass(frozen=True)
class ImagePlan:
    """One image to draw."""

    label: int
    index: int
    seed: int
    prompt: str
    start: str | None = None  # the real image that it starts from


def generate(
    params: SamplingSettings, *, plan: Path, style: Path, generator: Path, out: Path
) -> None:
    """Write the shards of one block to `out`."""
    block = Block(read_json(plan), "")
    if block.plan["start"] == block.plan["stop"]:
        log = StageLog("generate", "this block holds no image")
        end_share()
        write_json(out / "index.json", {"num_images": 0})
        return log.done("an empty block", out)
    block = Block(block.plan, hash_folder(generator))
    log = StageLog(
        "generate",
        f"{block.num_images()} images, {params.sampler}, {params.num_steps} steps, "
        f"guidance {block.plan['guidance_scale']}",
    )
    # Here, so that an empty block does not wait for torch.
    from synthbridge.core.processes import (
        missing_units,
        my_share,
        start_accelerator,
        wait_for_units,
    )

    shards = plan_shards(
        list(block.plan["styles"]),
        len(block.plan["class_names"]),
        params.classes_per_shard,
        block.plan["start"],
        block.plan["stop"],
    )
    with start_accelerator() as accelerator:
        paths = {shard: unit_path("generate", _key(params, block, shard)) for shard in shards}
        missing = missing_units(accelerator, shards, lambda shard: paths[shard].is_dir())
        log.expect(
            accelerator=accelerator,
            shards=missing,
            sampling=params,
            guidance_scale=block.plan["guidance_scale"],
            image_strength=block.plan.get("image_strength"),
        )
        mine = my_share(accelerator, missing)
        todo = {shard: paths[shard] for shard in mine}
        _make_shards(params, block, todo, style, generator, accelerator.device)
        wait_for_units(accelerator, shards, lambda shard: paths[shard].is_dir())
        if accelerator.is_main_process:
            for shard, path in paths.items():
                copy_unit(path, lambda _, shard=shard: out / shard.name)
            write_json(out / "index.json", {"num_images": block.num_images()})
    log.done(f"{block.num_images()} images in {len(shards)} shards", out)


def _key(params: SamplingSettings, block: Block, shard: PlannedShard) -> str:
    """Return the key of one shard's unit of work: all that decides its bytes."""
    names = block.plan["class_names"]
    return unit_key(
        make=_make_shards,
        sampling=params.model_dump(exclude={"images_per_block", "classes_per_shard"}),
        guidance_scale=block.plan["guidance_scale"],
        prompts=[block.candidates(shard.subset, label) for label in shard.class_indices],
        classes=[(label, names[label]) for label in shard.class_indices],
        images=[shard.start, shard.stop],
        subset=shard.subset,
        style=block.plan["styles"][shard.subset],
        starts=[block.plan.get("image_strength"), block.plan.get("starts", {}).get(shard.subset)],
        generator=block.generator_hash,
        batch_size=BATCH_SIZE,
    )


def _make_shards(
    params: SamplingSettings,
    block: Block,
    paths: dict[PlannedShard, Path],
    style: Path,
    generator: Path,
    device,
) -> None:
    """Draw the images of each shard; threads encode and write while the device goes on."""
    images = progress(
        _draw(params, block, list(paths), style, generator, device) if paths else (),
        total=sum(shard.num_images for shard in paths),
        what="drawing",
        unit="image",
    )
    write_units(paths, images, partial(_describe, params, block), jpeg_quality=params.jpeg_quality)


def _draw(
    params: SamplingSettings,
    block: Block,
    shards: Sequence[PlannedShard],
    style: Path,
    generator: Path,
    device,
) -> Iterator[tuple[ImagePlan, np.ndarray]]:
    """Draw the images of all shards in order: the plan of each, and (H, W, 3) uint8."""
    from synthbridge.diffusion.image_guidance import guide_by
    from synthbridge.diffusion.loading import load_text_to_image
    from synthbridge.diffusion.sampling import check_images, sample_images
    from synthbridge.diffusion.style_token import load_words, put_words

    model = load_text_to_image(generator).to_fastest(device)
    if params.compile:
        model = model.compiled()
    for shard in shards:
        starts = None
        if block.plan["styles"][shard.subset]:
            words = load_words(style / f"{shard.subset}.safetensors")
            put_words(model.tokenizer, model.text_encoder, words)
        if "starts" in block.plan:
            starts = read_start_images(style / f"{shard.subset}.tar")
        plans = plan_images(params, block, shard, starts)
        guidance = starts and guide_by(
            model,
            [plan.start for plan in plans if plan.start],
            starts.read,
            block.plan["image_strength"],
        )
        batches = sample_images(
            model,
            [image_plan.prompt for image_plan in plans],
            [image_plan.seed for image_plan in plans],
            sampler=params.sampler,
            num_steps=params.num_steps,
            guidance_scale=block.plan["guidance_scale"],
            guided_fraction=params.guided_fraction,
            batch_size=BATCH_SIZE,
            image_guidance=guidance,
        )
        drawn = 0
        for batch in batches:
            names = [plans[drawn + i].prompt for i in range(len(batch))]
            check_images(batch, names)
            yield from zip(plans[drawn : drawn + len(batch)], batch, strict=True)
            drawn += len(batch)


def plan_images(
    params: SamplingSettings,
    block: Block,
    shard: PlannedShard,
    starts: StartImages | None = None,
) -> list[ImagePlan]:
    """List the images of a shard, each with its own seed, prompt and real image to start from."""
    # Every subset draws its own noise: s1's images are no second look at s0's.
    run_seed = params.seed + (0 if shard.subset == ALL else 1 + int(shard.subset[1:]))
    plans = []
    for label in shard.class_indices:
        candidates = block.candidates(shard.subset, label)
        for index in range(shard.start, shard.stop):
            seed = image_seed(run_seed, label, index)
            start = starts.choose(label, index) if starts else None
            plans.append(ImagePlan(label, index, seed, draw_prompt(candidates, seed), start))
    return plans


def _describe(
    params: SamplingSettings, block: Block, shard: PlannedShard, plan: ImagePlan
) -> dict[str, Any]:
    """Return one sample without its image: all that is needed to draw it again."""
    start = {}
    if plan.start:
        start = {"image_strength": block.plan["image_strength"], "start_image": plan.start}
    return {
        "__key__": f"{shard.subset}-{plan.label:04d}-{plan.index:06d}",
        "cls": plan.label,
        "json": {
            "class_name": block.plan["class_names"][plan.label],
            "prompt": plan.prompt,
            "seed": plan.seed,
            "sampler": params.sampler,
            "num_steps": params.num_steps,
            "guidance_scale": block.plan["guidance_scale"],
            "guided_fraction": params.guided_fraction,
            "generator": block.generator_hash,
            "style": block.plan["styles"][shard.subset],
            **start,
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="generate", description=__doc__)
    for name in ("--plan", "--style", "--generator", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    generate(Sections().read(SamplingSettings, "generate"), **vars(args))
