"""T1 and T2 at full size: timm's classifiers with random weights; training.py calls it on a GPU.

Ten classes, images of 224 x 224 cut from 256 x 256 with ImageNet's crops, SGD with momentum, fused,
weights in float32 and autocast to bfloat16, channels last; eager. Both sides train the same model,
loaded before the clock runs.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from architectures import CLASSIFIERS, write_backbone
from fixed_batch import one_fixed_batch
from full_size_loops import random_images
from full_size_stages import RATE, training_settings
from scales import choose, working_folder
from usual_training import epochs_of, load_folder, train_plainly, write_folder

from synthbridge.core.processes import start_accelerator
from synthbridge.data.shards import index_shard, read_square, write_shard
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import load_images
from synthbridge.training.loop import Leg, draw_inputs, draw_step, train
from synthbridge.training.recipe import make_recipe
from synthbridge.training.schedule import num_batches
from synthbridge.training.team import Team

NUM_CLASSES = 10
IMAGE_SIZE = 512  # pixels a side of the JPEGs
END_TO_END = "resnet18"  # the network of T2


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained, how often it is timed, and what is wanted."""

    networks: Sequence[str]  # of T1
    batch: int  # of T1
    num_steps: int  # of T1
    batch_from_files: int  # of T2
    num_images: int  # of T2, JPEGs of 512 x 512
    num_epochs: int  # of T2
    num_workers: int  # processes of the usual loader
    num_warm_ups: int
    num_rounds: int
    wanted: float | None  # of T1
    wanted_end_to_end: float | None  # of T2


FULL = Scale(
    networks=tuple(CLASSIFIERS),
    batch=64,
    num_steps=60,
    batch_from_files=256,
    num_images=1024,
    num_epochs=30,
    num_workers=os.cpu_count() or 1,
    num_warm_ups=1,
    num_rounds=3,
    wanted=0.95,
    wanted_end_to_end=2.5,
)
TRIAL = Scale(
    networks=(END_TO_END,),
    batch=2,
    num_steps=1,
    batch_from_files=2,
    num_images=20,
    num_epochs=1,
    num_workers=1,
    num_warm_ups=0,
    num_rounds=1,
    wanted=None,
    wanted_end_to_end=None,
)


def time_loader(name: str, folder: Path, scale: Scale, team: Team, rounds: int) -> dict[str, Any]:
    """Time training with the real loader, on images in memory, and on one fixed batch: a row."""
    recipe = make_recipe(training_settings(scale.batch), folder / name, flip=True)
    images = random_images(512, recipe.settings.resize_size, NUM_CLASSES, team.device)
    model = load_backbone(folder / name, num_classes=NUM_CLASSES, seed=0)
    drawn = draw_step(images, np.arange(scale.batch), recipe, np.random.default_rng(0))
    batch, labels, *_ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)

    def run() -> None:
        leg = Leg(num_steps=scale.num_steps, learning_rate=RATE, seed=0)
        train(model, images, recipe, leg, team)

    def run_on_one_batch() -> None:
        with one_fixed_batch(batch, labels):
            run()

    seconds = measure.take_turns(
        {"loop": run, "fixed": run_on_one_batch}, rounds=rounds, num_warm_ups=scale.num_warm_ups
    )
    check_weights(model)
    what = f"{name}, batch {scale.batch}: training with the loader / on one fixed batch"
    return compare(what, seconds, scale.num_steps * scale.batch, ("loop", "fixed"), scale.wanted)


def time_end_to_end(folder: Path, scale: Scale, team: Team, rounds: int) -> dict[str, Any]:
    """Time training from files: ours decodes each once, in every run; ImageFolder every epoch."""
    recipe = make_recipe(training_settings(scale.batch_from_files), folder / END_TO_END, flip=True)
    model = load_backbone(folder / END_TO_END, num_classes=NUM_CLASSES, seed=0)
    num_steps = scale.num_epochs * num_batches(scale.num_images, scale.batch_from_files)
    with tempfile.TemporaryDirectory() as name:
        files, shard = Path(name) / "files", Path(name) / "shard.tar"
        # 64 blobs a side: about the bytes that a photograph takes.
        write_folder(files, scale.num_images, IMAGE_SIZE, grain=64)
        pack(files, shard)
        usual = load_folder(files, recipe, scale.num_workers)

        def train_from_shard() -> None:
            samples = index_shard(shard)
            images = load_images(
                samples,
                [sample.label for sample in samples],
                read_square,
                size=recipe.settings.resize_size,
                device=team.device,
                memory_limit=2**31,
            )
            leg = Leg(num_steps=num_steps, learning_rate=RATE, seed=0)
            train(model, images, recipe, leg, team)

        seconds = measure.take_turns(
            {
                "ours": train_from_shard,
                "usual": lambda: train_plainly(
                    model, epochs_of(usual, num_steps), rate=RATE, team=team
                ),
            },
            rounds=rounds,
            num_warm_ups=scale.num_warm_ups,
        )
    check_weights(model)
    what = (
        f"{END_TO_END}, batch {scale.batch_from_files}, {scale.num_epochs} epochs from files: "
        f"ours / ImageFolder with PIL in {scale.num_workers} processes"
    )
    num_samples = scale.num_epochs * scale.num_images
    return compare(what, seconds, num_samples, ("ours", "usual"), scale.wanted_end_to_end)


def pack(files: Path, shard: Path) -> None:
    """Write the same JPEGs as a shard, in which our stages find them."""
    write_shard(
        shard,
        (
            {
                "__key__": path.stem,
                "jpg": path.read_bytes(),
                "cls": int(path.parent.name),
                "json": {},
            }
            for path in sorted(files.glob("*/*.jpg"))
        ),
    )


def check_weights(model: torch.nn.Module) -> None:
    """Refuse a model whose numbers are none: its time would mean nothing."""
    assert all(bool(weights.isfinite().all()) for weights in model.parameters())


def compare(
    what: str,
    seconds: dict[str, float],
    num_samples: int,
    arms: tuple[str, str],
    wanted: float | None,
) -> dict[str, Any]:
    """Return the row of a ratio of samples a second."""
    rates = measure.per_second(num_samples, seconds)
    ours, base = arms
    ratio = seconds[base] / seconds[ours]
    return {"what": what, "ratio": ratio, "wanted": wanted, "samples_per_second": rates}


def measure_and_save(args: argparse.Namespace) -> None:
    """Measure, print and save."""
    is_gpu = torch.cuda.is_available()
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if is_gpu else "no"
    scale = choose(args.scale, full=FULL, trial=TRIAL)
    rounds, rows = args.rounds or scale.num_rounds, {}
    with working_folder(args.folder) as folder, start_accelerator() as accelerator:
        team = Team(accelerator, rank=0, size=1)
        for name in scale.networks:
            if not (folder / name).is_dir():
                write_backbone(name, folder / name)
            rows[f"T1 {name}"] = time_loader(name, folder, scale, team, rounds)
        rows["T2"] = time_end_to_end(folder, scale, team, rounds)
    measure.save_ratios(measure.result_name("training", args.scale), rows)
