"""Stage `upstream`: the pool and the pretrained models that everything else starts from.

The miniature world, made in three rounds; what stands in one line is made side by side:

    pool        its shards
    CLIP        VAE          each from the pool
    generator   backbone     a UNet for the VAE's latents and CLIP's text tower; letters alone

Every model trains on one thread of one process, for its sums are then the same on any machine;
two small models beside each other also take a third less time than two threads on one at a time.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from accelerate import Accelerator

from synthbridge.files import hash_folder, write_json
from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.stages.processes import missing_units, my_share, start_accelerator
from synthbridge.upstream import backbone, clip, generator
from synthbridge.upstream.folders import whole_folder
from synthbridge.upstream.pool import CLASS_NAMES, Pool, count_shards, read_pool, write_pool_shard
from synthbridge.upstream.settings import (
    BackboneSettings,
    ClipSettings,
    GeneratorSettings,
    UpstreamSettings,
)
from synthbridge.upstream.tokenizer import train_tokenizer
from synthbridge.work import unit_key, unit_path, whole_unit


@dataclass(frozen=True)
class Unit:
    """A part of the upstream that one process makes."""

    path: Path  # where it lies once it is whole
    make: Callable[[Path], object]  # writes it into an empty folder


def upstream(params: UpstreamSettings, *, out: Path) -> None:
    """Write the folders pool, clip, generator and backbone below `out`."""
    log = StageLog(
        f"upstream: drawing {params.pool.num_images} captioned images, then training CLIP, a "
        "latent diffusion model and a backbone"
    )
    backbone.check_model(params.backbone.model)
    with start_accelerator(cpu=True) as accelerator:
        shards = [
            _unit(partial(_make_shard, params, shard), shard=shard, pool=params.pool.model_dump())
            for shard in range(count_shards(params.pool))
        ]
        _make(accelerator, shards)
        if accelerator.is_main_process:
            _publish(shards, out / "pool")
            write_json(out / "pool" / "classes.json", {"names": list(CLASS_NAMES)})
        accelerator.wait_for_everyone()
        models = _make_models(accelerator, params, out / "pool")
        if accelerator.is_main_process:
            for name, unit in models.items():
                _publish([unit], out / name)
    log.done("pool, CLIP, generator and backbone", out)


def _make_models(accelerator: Accelerator, params: UpstreamSettings, pool: Path) -> dict[str, Unit]:
    """Make what is not there yet; returns the finished models' units."""
    read = cache(partial(read_pool, pool))  # once a process, and only where it is needed
    drawn = hash_folder(pool)
    of_vae = params.generator.model_dump(include={"vae", "seed"})
    vae = _unit(partial(_make_vae, params.generator, read), vae=of_vae, pool=drawn)
    tower = _unit(partial(_make_clip, params.clip, read), clip=params.clip.model_dump(), pool=drawn)
    _make(accelerator, [tower, vae])
    whole = _unit(
        partial(_make_generator, params.generator, read, vae.path, tower.path),
        generator=params.generator.model_dump(),
        parts=[vae.path.name, tower.path.name],
    )
    letters = _unit(partial(_make_backbone, params.backbone), backbone=params.backbone.model_dump())
    _make(accelerator, [whole, letters])
    return {"clip": tower, "generator": whole, "backbone": letters}


def _unit(make: Callable[[Path], object], **decides) -> Unit:
    return Unit(unit_path("upstream", unit_key(**decides)), make)


def _make(accelerator: Accelerator, units: Sequence[Unit]) -> None:
    """Make this process's share of the units that are not there; wait for the others'."""
    missing = missing_units(accelerator, units, lambda unit: unit.path.is_dir())
    for unit in my_share(accelerator, missing):
        with whole_unit(unit.path) as folder:
            unit.make(folder)
    accelerator.wait_for_everyone()


def _publish(units: Sequence[Unit], out: Path) -> None:
    """Copy finished units out of the work folder."""
    with whole_folder(out) as folder:
        for unit in units:
            shutil.copytree(unit.path, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)


def _make_shard(params: UpstreamSettings, shard: int, folder: Path) -> None:
    write_pool_shard(shard, folder, params.pool)


def _run(steps: Iterator[float], num_steps: int, what: str) -> None:
    """Take all training steps."""
    for _ in progress(steps, total=num_steps, what=what, unit="step"):
        pass


def _make_clip(params: ClipSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Write the model, its tokenizer and its image processor."""
    pool = read()
    tokenizer = train_tokenizer(pool.captions, folder)
    model = clip.make_clip(tokenizer, params.seed)
    steps = clip.train_clip(model, tokenizer, pool, params)
    _run(steps, params.num_steps, "training CLIP")
    clip.save_clip(model, folder)


def _make_vae(params: GeneratorSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Write the VAE."""
    images = clip.scale_pixels(read().images)
    vae = generator.make_vae(params.seed)
    steps = generator.train_vae(vae, images, params.vae, params.seed)
    _run(steps, params.vae.num_steps, "training the VAE")
    vae.save_pretrained(folder)


def _make_generator(
    params: GeneratorSettings, read: Callable[[], Pool], vae: Path, tower: Path, folder: Path
) -> None:
    """Train a UNet for a VAE and a CLIP text tower, both frozen, and write the pipeline."""
    pool, decoder = read(), generator.load_vae(vae)
    latents = generator.encode_images(decoder, clip.scale_pixels(pool.images))
    scale = 1 / latents.mean.std().item()  # to unit variance
    decoder.register_to_config(scaling_factor=scale)
    text_encoder, tokenizer = generator.load_text_tower(tower)
    states, rows = generator.encode_captions(text_encoder, tokenizer, pool.captions)
    scheduler, unet = generator.make_scheduler(), generator.make_unet(states.shape[-1], params.seed)
    steps = generator.train_unet(
        unet, scheduler, latents.scaled(scale), states, rows, params.unet,
        caption_dropout=params.caption_dropout, seed=params.seed,
    )  # fmt: skip
    _run(steps, params.unet.num_steps, "training the UNet")
    generator.save_generator(folder, decoder, unet, scheduler, text_encoder, tokenizer)


def _make_backbone(params: BackboneSettings, folder: Path) -> None:
    """Draw letters, train on them, and write the model in timm's layout."""
    model = backbone.make_backbone(params.model, params.input_size, params.seed)
    images, labels = backbone.draw_letters(params.num_images, params.input_size, params.seed)
    steps = backbone.train_backbone(model, images, labels, params)
    _run(steps, params.num_steps, "training the backbone")
    backbone.save_backbone(model, folder)


def main(arguments: list[str] | None = None) -> None:
    """Take the path that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="upstream", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    upstream(read_section(UpstreamSettings, "upstream"), **vars(parser.parse_args(arguments)))
