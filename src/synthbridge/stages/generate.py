"""Stage `generate`: prompts of one block become shards of labelled synthetic images."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbridge.core.files import hash_folder, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, progress
from synthbridge.core.settings import Sections
from synthbridge.core.shares import end_share
from synthbridge.core.units import copy_unit, unit_path
from synthbridge.data.block_plan import BlockPlan, read_block_plan
from synthbridge.data.licences import licence_record
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

if TYPE_CHECKING:
    import torch

    from synthbridge.diffusion.generator import Generator
    from synthbridge.diffusion.image_guidance import ImageGuidance

# Images denoised at once, a whole shard where they are small: of 16 pixels a side an image takes a
# quarter less time among 300 than among 64. Of 512 the sampler takes fewer. Part of the key, as
# rounding depends on it.
BATCH_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block to draw, and all that decides its images."""

    plan: BlockPlan
    sampling: SamplingSettings
    style: Path  # folder of learned words and of images to start from
    generator: Path
    generator_hash: str


@dataclass(frozen=True)
class ImagePlan:
    """One image to draw."""

    label: int
    index: int
    seed: int
    prompt: str
    start: str | None = None  # the real image that it starts from
    start_label: int | None = None  # the class of that image


def generate(
    params: SamplingSettings, *, plan: Path, style: Path, generator: Path, out: Path
) -> None:
    """Write the shards of one block to `out`."""
    of_block = read_block_plan(plan)
    if of_block is None:
        log = StageLog("generate", "this block holds no image")
        end_share()
        write_json(out / "index.json", {"num_images": 0})
        return log.done("an empty block", out)
    log = StageLog(
        "generate",
        f"{of_block.num_images()} images, {params.sampler}, {params.num_steps} steps, "
        f"guidance {of_block.guidance_scale}",
    )
    # Here, so that an empty block does not wait for torch.
    from synthbridge.core.processes import (
        missing_units,
        my_share,
        start_accelerator,
        wait_for_units,
    )

    block = Block(
        plan=of_block,
        sampling=params,
        style=style,
        generator=generator,
        generator_hash=hash_folder(generator),
    )
    shards = plan_shards(
        list(of_block.styles),
        len(of_block.class_names),
        params.classes_per_shard,
        of_block.start,
        of_block.stop,
    )
    with start_accelerator() as accelerator:
        paths = {shard: unit_path("generate", _key(block, shard)) for shard in shards}
        missing = missing_units(accelerator, shards, lambda shard: paths[shard].is_dir())
        log.expect(
            accelerator=accelerator,
            generator=generator,
            shards=missing,
            sampling=params,
            guidance_scale=of_block.guidance_scale,
            image_strength=of_block.image_strength,
        )
        mine = my_share(accelerator, missing)
        _make_shards(block, {shard: paths[shard] for shard in mine}, accelerator.device)
        wait_for_units(accelerator, shards, lambda shard: paths[shard].is_dir())
        if accelerator.is_main_process:
            for shard, path in paths.items():
                copy_unit(path, lambda _, shard=shard: out / shard.name)
            about = {"num_images": of_block.num_images(), **licence_record(generator)}
            write_json(out / "index.json", about)
    log.done(f"{of_block.num_images()} images in {len(shards)} shards", out)


def _key(block: Block, shard: PlannedShard) -> str:
    """Return the key of one shard's unit of work: all that decides its bytes."""
    plan = block.plan
    return unit_key(
        make=_make_shards,
        sampling=block.sampling.model_dump(exclude={"images_per_block", "classes_per_shard"}),
        guidance_scale=plan.guidance_scale,
        prompts=[plan.candidates(shard.subset, label) for label in shard.class_indices],
        classes=[(label, plan.class_names[label]) for label in shard.class_indices],
        images=[shard.start, shard.stop],
        subset=shard.subset,
        style=plan.styles[shard.subset],
        starts=[plan.image_strength, plan.starts and plan.starts[shard.subset]],
        generator=block.generator_hash,
        batch_size=BATCH_SIZE,
        **_tuned(plan),
        **_mixed(plan),
    )


def _tuned(plan: BlockPlan) -> dict[str, str]:
    """Return what each LoRA of a set is of, where there are LoRAs."""
    return {} if plan.tuned is None else {"tuned": plan.tuned}


def _mixed(plan: BlockPlan) -> dict[str, float]:
    """Return how images mix two classes, where they do."""
    return {} if plan.mix_gamma is None else {"mix_gamma": plan.mix_gamma}


def _make_shards(block: Block, paths: dict[PlannedShard, Path], device: "torch.device") -> None:
    """Draw the images of each shard; threads encode and write while the device goes on."""
    images = progress(
        _draw(block, list(paths), device) if paths else (),
        total=sum(shard.num_images for shard in paths),
        what="drawing",
        unit="image",
    )
    write_units(paths, images, partial(_describe, block), jpeg_quality=block.sampling.jpeg_quality)


def _draw(
    block: Block, shards: Sequence[PlannedShard], device: "torch.device"
) -> Iterator[tuple[ImagePlan, np.ndarray]]:
    """Draw the images of all shards in order: the plan of each, and (H, W, 3) uint8."""
    from synthbridge.diffusion.loading import load_generator

    model = load_generator(block.generator).to_fastest(device, draws_only=True)
    if block.sampling.compile:
        model = model.compiled()
    for shard in shards:
        yield from _draw_shard(block, shard, model)


def _draw_shard(
    block: Block, shard: PlannedShard, model: "Generator"
) -> Iterator[tuple[ImagePlan, np.ndarray]]:
    """Draw the images of one shard, with its subset's words or LoRAs, and from its real images."""
    from synthbridge.diffusion.image_guidance import guide_by
    from synthbridge.diffusion.lora import file_name, fused, load_lora
    from synthbridge.diffusion.style_token import load_words, put_words

    plan = block.plan
    if plan.tuned is None and plan.styles[shard.subset]:
        words = load_words(block.style / f"{shard.subset}.safetensors")
        put_words(model, words)
    starts = guidance = None
    if plan.image_strength is not None:
        starts = read_start_images(block.style / f"{shard.subset}.tar")
    images = plan_images(block.sampling, plan, shard, starts)
    if starts and plan.image_strength is not None:
        chosen = [image.start for image in images if image.start]
        guidance = guide_by(model, chosen, starts.read, plan.image_strength)
    if plan.tuned is None:
        yield from _draw_images(block, images, model, guidance)
        return
    for label, own in groupby(images, lambda each: each.label if plan.tuned == "class" else None):
        lora = load_lora(block.style / f"{shard.subset}_{file_name(label)}", model.denoiser)
        with fused(model.denoiser, lora):
            yield from _draw_images(block, list(own), model)


def _draw_images(
    block: Block,
    images: Sequence[ImagePlan],
    model: "Generator",
    guidance: "ImageGuidance | None" = None,
) -> Iterator[tuple[ImagePlan, np.ndarray]]:
    """Draw images in order: the plan of each, and (H, W, 3) uint8."""
    from synthbridge.diffusion.sampling import check_images, sample_images

    plan, sampling = block.plan, block.sampling
    batches = sample_images(
        model,
        [image.prompt for image in images],
        [image.seed for image in images],
        sampler=sampling.sampler,
        num_steps=sampling.num_steps,
        guidance_scale=plan.guidance_scale,
        guided_fraction=sampling.guided_fraction,
        batch_size=BATCH_SIZE,
        image_guidance=guidance,
    )
    waiting = iter(images)
    for batch in batches:
        drawn = list(islice(waiting, len(batch)))
        check_images(batch, [image.prompt for image in drawn])
        yield from zip(drawn, batch, strict=True)


def plan_images(
    sampling: SamplingSettings,
    plan: BlockPlan,
    shard: PlannedShard,
    starts: StartImages | None = None,
) -> list[ImagePlan]:
    """List the images of a shard, each with its own seed, prompt and real image to start from."""
    # Every subset draws its own noise: s1's images are no second look at s0's.
    run_seed = sampling.seed + (0 if shard.subset == ALL else 1 + int(shard.subset[1:]))
    images = []
    for label in shard.class_indices:
        candidates = plan.candidates(shard.subset, label)
        for index in range(shard.start, shard.stop):
            seed = image_seed(run_seed, label, index)
            prompt = draw_prompt(candidates, seed)
            if starts is None:
                images.append(ImagePlan(label, index, seed, prompt))
                continue
            of, start = label, starts.choose(label, index)
            if plan.mix_gamma is not None:
                of, start = starts.choose_other(label, index)
            images.append(ImagePlan(label, index, seed, prompt, start, of))
    return images


def soft_label(plan: BlockPlan, image: ImagePlan) -> dict[str, float]:
    """Return how much of each class an image is: Diff-Mix (arXiv:2403.19600).

    1 - s^gamma of the class of the real image that it starts from, s^gamma of the prompt's.
    """
    assert plan.mix_gamma is not None and plan.image_strength is not None
    of_prompt = plan.image_strength**plan.mix_gamma
    return {str(image.start_label): 1 - of_prompt, str(image.label): of_prompt}


def _describe(block: Block, shard: PlannedShard, image: ImagePlan) -> dict[str, Any]:
    """Return one sample without its image: all that is needed to draw it again."""
    plan, sampling = block.plan, block.sampling
    start: dict[str, Any] = {}
    if image.start:
        start = {"image_strength": plan.image_strength, "start_image": image.start}
    if plan.mix_gamma is not None:
        start["soft_label"] = soft_label(plan, image)
        start["num_classes"] = len(plan.class_names)
    return {
        "__key__": f"{shard.subset}-{image.label:04d}-{image.index:06d}",
        "cls": image.label,
        "json": {
            "class_name": plan.class_names[image.label],
            "prompt": image.prompt,
            "seed": image.seed,
            "sampler": sampling.sampler,
            "num_steps": sampling.num_steps,
            "guidance_scale": plan.guidance_scale,
            "guided_fraction": sampling.guided_fraction,
            "generator": block.generator_hash,
            "style": plan.styles[shard.subset],
            **_tuned(plan),
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
