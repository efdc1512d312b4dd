"""Stage `generate`: prompts of one block become shards of labelled synthetic images."""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.data.shards import encode_jpeg, write_shard
from synthbridge.data.synthetic import ALL, PlannedShard, plan_shards
from synthbridge.diffusion.prompts import draw_prompt, image_seed
from synthbridge.diffusion.settings import SamplingSettings
from synthbridge.files import hash_folder, read_json, write_json
from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.stages.launch import end_share
from synthbridge.work import copy_unit, unit_key, unit_path, whole_unit

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


def generate(
    params: SamplingSettings, *, plan: Path, style: Path, generator: Path, out: Path
) -> None:
    """Write the shards of one block to `out`."""
    block = Block(read_json(plan), "")
    if block.plan["start"] == block.plan["stop"]:
        log = StageLog("generate: this block holds no image")
        end_share()
        write_json(out / "index.json", {"num_images": 0})
        return log.done("an empty block", out)
    block = Block(block.plan, hash_folder(generator))
    log = StageLog(
        f"generate: {block.num_images()} images, {params.sampler}, {params.num_steps} steps, "
        f"guidance {block.plan['guidance_scale']}"
    )
    from synthbridge.stages.processes import (
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
    from synthbridge.diffusion import sampling  # noqa: F401  (part of the code's hash)

    names = block.plan["class_names"]
    return unit_key(
        sampling=params.model_dump(exclude={"images_per_block", "classes_per_shard"}),
        guidance_scale=block.plan["guidance_scale"],
        prompts=[block.candidates(shard.subset, label) for label in shard.class_indices],
        classes=[(label, names[label]) for label in shard.class_indices],
        images=[shard.start, shard.stop],
        subset=shard.subset,
        style=block.plan["styles"][shard.subset],
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
    total = sum(len(shard.class_indices) * (shard.stop - shard.start) for shard in paths)
    images = progress(
        _draw(params, block, list(paths), style, generator, device) if paths else (),
        total=total,
        what="drawing",
        unit="image",
    )
    with ThreadPoolExecutor() as encoders, ThreadPoolExecutor(1) as writer:
        writing: Future | None = None
        for shard, path in paths.items():
            count = len(shard.class_indices) * (shard.stop - shard.start)
            samples = [
                (image_plan, encoders.submit(encode_jpeg, image, params.jpeg_quality))
                for image_plan, image in islice(images, count)
            ]
            if writing:
                writing.result()  # memory holds two shards at most; an error shows here
            writing = writer.submit(_write_unit, params, block, shard, samples, path)
        if writing:
            writing.result()


def _draw(
    params: SamplingSettings,
    block: Block,
    shards: Sequence[PlannedShard],
    style: Path,
    generator: Path,
    device,
) -> Iterator[tuple[ImagePlan, np.ndarray]]:
    """Draw the images of all shards in order: the plan of each, and (H, W, 3) uint8."""
    from synthbridge.diffusion.loading import load_text_to_image
    from synthbridge.diffusion.sampling import check_images, sample_images
    from synthbridge.diffusion.style_token import load_style_token, put_style_token

    model = load_text_to_image(generator).to_fastest(device)
    for shard in shards:
        if block.plan["styles"][shard.subset]:
            placeholder, vector = load_style_token(style / f"{shard.subset}.safetensors")
            put_style_token(model.tokenizer, model.text_encoder, placeholder, vector)
        plans = plan_images(params, block, shard)
        batches = sample_images(
            model,
            [image_plan.prompt for image_plan in plans],
            [image_plan.seed for image_plan in plans],
            sampler=params.sampler,
            num_steps=params.num_steps,
            guidance_scale=block.plan["guidance_scale"],
            guided_share=params.guided_share,
            batch_size=BATCH_SIZE,
        )
        drawn = 0
        for batch in batches:
            names = [plans[drawn + i].prompt for i in range(len(batch))]
            check_images(batch, names)
            yield from zip(plans[drawn : drawn + len(batch)], batch, strict=True)
            drawn += len(batch)


def plan_images(params: SamplingSettings, block: Block, shard: PlannedShard) -> list[ImagePlan]:
    """List the images of a shard, each with its own seed and prompt."""
    # Every subset draws its own noise: s1's images are no second look at s0's.
    run_seed = params.seed + (0 if shard.subset == ALL else 1 + int(shard.subset[1:]))
    plans = []
    for label in shard.class_indices:
        candidates = block.candidates(shard.subset, label)
        for index in range(shard.start, shard.stop):
            seed = image_seed(run_seed, label, index)
            plans.append(ImagePlan(label, index, seed, draw_prompt(candidates, seed)))
    return plans


def _write_unit(
    params: SamplingSettings,
    block: Block,
    shard: PlannedShard,
    samples: list[tuple[ImagePlan, Future]],
    path: Path,
) -> None:
    """Write one finished shard into the work folder."""
    with whole_unit(path) as unit:
        write_shard(
            unit / "shard.tar",
            (_sample(params, block, shard, plan, jpeg.result()) for plan, jpeg in samples),
        )


def _sample(
    params: SamplingSettings, block: Block, shard: PlannedShard, plan: ImagePlan, jpeg: bytes
) -> dict[str, Any]:
    """Return one sample as `write_shard` takes it: all that is needed to draw it again."""
    return {
        "__key__": f"{shard.subset}-{plan.label:04d}-{plan.index:06d}",
        "jpg": jpeg,
        "cls": plan.label,
        "json": {
            "class_name": block.plan["class_names"][plan.label],
            "prompt": plan.prompt,
            "seed": plan.seed,
            "sampler": params.sampler,
            "num_steps": params.num_steps,
            "guidance_scale": block.plan["guidance_scale"],
            "guided_share": params.guided_share,
            "generator": block.generator_hash,
            "style": block.plan["styles"][shard.subset],
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="generate", description=__doc__)
    for name in ("--plan", "--style", "--generator", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    generate(read_section(SamplingSettings, "generate"), **vars(args))
