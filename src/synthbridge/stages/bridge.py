"""Stage `bridge`: the backbone and a synthetic set become stage-one models."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthbridge.core.files import hash_folder, hash_value, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import copy_unit, unit_path, whole_unit
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import block_folders, hash_samples, synthetic_samples
from synthbridge.training.arms import curve_record
from synthbridge.training.classifier import load_backbone, save_classifier
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Recipe, train
from synthbridge.training.settings import StageOneSettings, TrainingSettings
from synthbridge.training.team import Team
from synthbridge.training.trainings import (
    describe_normalisation,
    load_samples,
    make_recipe,
    measured_recipe,
    share_trainings,
)


@dataclass(frozen=True)
class BridgeParams:
    """What the stage reads of params.yaml."""

    stage_one: Mapping[str, StageOneSettings]
    training: TrainingSettings
    seeds: Sequence[int]


@dataclass(frozen=True)
class StageOneRun:
    """One stage-one model to train."""

    name: str  # a group below `stage_one`
    seed: int
    path: Path  # its unit of work


def bridge(
    params: BridgeParams,
    *,
    real: Path,
    backbone: Path,
    blocks: Sequence[Path],
    kept: Path | None = None,
    out: Path,
) -> None:
    """Train every stage-one model of a set, for every seed, on synthetic images alone."""
    stage_one, training, seeds = params.stage_one, params.training, params.seeds
    num_runs = len(stage_one) * len(seeds)
    log = StageLog("bridge", f"training {num_runs} stage-one models ({', '.join(stage_one)})")
    dataset = read_dataset(real)
    num_classes = len(dataset.class_names)
    recipe = make_recipe(training, backbone, dataset.flip)
    samples = {seed: synthetic_samples(blocks, seed, kept) for seed in seeds}
    measured = hash_folder(real) if training.normalisation == "real" else None
    shared = [training.model_dump(), hash_folder(backbone), num_classes, dataset.flip, measured]
    with start_accelerator() as accelerator:
        runs = [
            StageOneRun(name, seed, _unit(settings, seed, samples[seed], shared))
            for seed in seeds
            for name, settings in stage_one.items()
        ]
        decoded_of, images = None, None

        for run, team in share_trainings(
            accelerator,
            runs,
            what="stage one",
            unit="model",
            log=log,
            params=params,
            num_images={seed: len(of_seed) for seed, of_seed in samples.items()},
        ):
            if samples[run.seed] != decoded_of:  # most sets are the same for every seed
                decoded_of = samples[run.seed]
                images = load_samples(decoded_of, training.resize_size, team.device)
            assert images is not None
            own = _recipe(recipe, dataset, images, run.seed)
            _train(run, stage_one[run.name], images, own, backbone, num_classes, team)
        if accelerator.is_main_process:
            for run in runs:
                folder, stem = out / run.name, f"s{run.seed}"
                copy_unit(run.path, lambda file: folder / f"{stem}{file.suffix}")  # noqa: B023
    log.done(f"{num_runs} stage-one models", out)


def _recipe(recipe: Recipe, dataset: PreparedDataset, images: ImageSet, seed: int) -> Recipe:
    """Return the recipe with the statistics that the models of a seed are trained with.

    A stage-one model serves runs of any number of shots. So real statistics are measured on one
    shot of each class, the first, which every one of these runs may see (chosen).
    """
    real = None
    if recipe.settings.normalisation == "real":
        samples = dataset.train_samples(1, seed)
        real = load_samples(samples, recipe.settings.resize_size, images.labels.device)
    return measured_recipe(recipe, real, images)


def _unit(settings: StageOneSettings, seed: int, samples: Sequence[Sample], shared: list) -> Path:
    inputs = hash_value(hash_samples(samples))
    key = unit_key(
        make=_train, settings=settings.model_dump(), seed=seed, synthetic=inputs, shared=shared
    )
    return unit_path("bridge", key)


def _train(
    run: StageOneRun,
    settings: StageOneSettings,
    images: ImageSet,
    recipe: Recipe,
    backbone: Path,
    num_classes: int,
    team: Team,
) -> None:
    """Train one stage-one model and leave it in the work folder."""
    start = recipe.settings.start
    model = load_backbone(backbone, num_classes=num_classes, seed=run.seed, start=start)
    curve = train(
        model,
        images,
        recipe,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        mixup=settings.mixup,
        seed=run.seed,
        team=team,
    )
    if team.rank == 0:
        record = {
            "num_steps": settings.num_steps,
            "num_images": len(images),
            **describe_normalisation(recipe),
        }
        with whole_unit(run.path) as unit:
            save_classifier(model, unit / "model.safetensors")
            write_json(unit / "record.json", {**record, "curve": curve_record(curve)})


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="bridge", description=__doc__)
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, help="the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    parser.add_argument("--kept", type=Path, help="what examine keeps of the set (default: all)")
    args = vars(parser.parse_args(arguments))
    args["blocks"] = block_folders(args["blocks"], args.pop("num_blocks"))
    sections = Sections()
    params = BridgeParams(
        stage_one=sections.read(dict[str, StageOneSettings], "stage_one"),
        training=sections.read(TrainingSettings, "training"),
        seeds=sections.read(list[int], "seeds"),
    )
    bridge(params, **args)
