"""Stage `bridge`: the backbone and a synthetic set become stage-one models."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthbridge.core.files import hash_folder, hash_value, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, measuring
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import copy_unit, unit_path, whole_unit
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import block_folders, hash_samples, synthetic_samples
from synthbridge.training.arms import curve_record
from synthbridge.training.classifier import load_backbone, save_classifier
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import Leg, train
from synthbridge.training.recipe import (
    Recipe,
    describe_normalisation,
    make_recipe,
    measured_recipe,
)
from synthbridge.training.settings import (
    StageOneSettings,
    TrainingSettings,
    stage_one_steps,
)
from synthbridge.training.sharing import share_trainings
from synthbridge.training.team import Team


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
    num_steps: int
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
    num_runs = len(params.stage_one) * len(params.seeds)
    names = ", ".join(params.stage_one)
    log = StageLog("bridge", f"training {num_runs} stage-one models ({names})")
    samples = {seed: synthetic_samples(blocks, seed, kept) for seed in params.seeds}
    dataset = read_dataset(real)
    runs = _list_runs(params, dataset, backbone, samples)
    with start_accelerator() as accelerator:
        trainer = None
        for run, team in share_trainings(
            accelerator,
            runs,
            what="stage one",
            unit="model",
            log=log,
            params=params,
            num_images={seed: len(of_seed) for seed, of_seed in samples.items()},
        ):
            trainer = trainer or StageOneTrainer(params, dataset, backbone, team)
            trainer.make(run, samples[run.seed])
        if accelerator.is_main_process:
            for run in runs:
                folder, stem = out / run.name, f"s{run.seed}"
                copy_unit(run.path, lambda file: folder / f"{stem}{file.suffix}")  # noqa: B023
    log.done(f"{num_runs} stage-one models", out)


def _list_runs(
    params: BridgeParams,
    dataset: PreparedDataset,
    backbone: Path,
    samples: Mapping[int, Sequence[Sample]],
) -> list[StageOneRun]:
    """List the runs, models innermost: those of one seed share the images of `samples`."""
    training, num_classes = params.training, len(dataset.class_names)
    measured = hash_folder(dataset.folder) if training.normalisation == "real" else None
    facts = [num_classes, dataset.flip, measured]
    num_steps = stage_one_steps(params.stage_one, num_classes, training.batch_size)
    shared = [training.model_dump(), hash_folder(backbone), *facts]
    synthetic = {seed: hash_value(hash_samples(of_seed)) for seed, of_seed in samples.items()}

    def unit(name: str, seed: int) -> Path:
        key = unit_key(
            make=StageOneTrainer.make,
            num_steps=num_steps[name],
            settings=params.stage_one[name].model_dump(include={"learning_rate", "mixup"}),
            seed=seed,
            synthetic=synthetic[seed],
            shared=shared,
        )
        return unit_path("bridge", key)

    return [
        StageOneRun(name, seed, num_steps[name], unit(name, seed))
        for seed in params.seeds
        for name in params.stage_one
    ]


class StageOneTrainer:
    """Makes stage-one models; keeps what they share: the data set's facts, decoded images."""

    def __init__(self, params: BridgeParams, dataset: PreparedDataset, backbone: Path, team: Team):
        """Make the recipe; images are decoded when a model asks for them."""
        self.params, self.dataset, self.backbone, self.team = params, dataset, backbone, team
        self.recipe = make_recipe(params.training, backbone, self.dataset.flip)
        self.decoded_of: Sequence[Sample] = ()
        self.decoded: ImageSet | None = None

    def _load(self, samples: Sequence[Sample]) -> ImageSet:
        size = self.params.training.resize_size
        return load_samples(samples, size, self.team.device, whole=True)

    def make(self, run: StageOneRun, samples: Sequence[Sample]) -> None:
        """Train one stage-one model on `samples` and leave it in the work folder."""
        settings = self.params.stage_one[run.name]
        images = self._images(samples)
        recipe = self._recipe(images, run.seed)
        model = load_backbone(
            self.backbone,
            num_classes=len(self.dataset.class_names),
            seed=run.seed,
            start=self.params.training.start,
        )
        leg = Leg(
            num_steps=run.num_steps,
            learning_rate=settings.learning_rate,
            seed=run.seed,
            mixup=settings.mixup,
        )
        with measuring(f"{run.name}-s{run.seed}"):
            curve = train(model, images, recipe, leg, self.team)
        if self.team.rank == 0:
            record = {
                "num_steps": run.num_steps,
                "num_images": len(images),
                **describe_normalisation(recipe),
                "curve": curve_record(curve),
            }
            with whole_unit(run.path) as unit:
                save_classifier(model, unit / "model.safetensors")
                write_json(unit / "record.json", record)

    def _images(self, samples: Sequence[Sample]) -> ImageSet:
        """Decode `samples`, unless they are those of the last model: most sets serve every seed."""
        if self.decoded is None or samples != self.decoded_of:
            self.decoded_of, self.decoded = samples, self._load(samples)
        return self.decoded

    def _recipe(self, images: ImageSet, seed: int) -> Recipe:
        """Return the recipe with the statistics that the models of a seed are trained with.

        A stage-one model serves runs of any number of shots. So real statistics are measured on
        one shot of each class, the first, which every one of these runs may see (chosen).
        """
        real = None
        if self.recipe.settings.normalisation == "real":
            real = self._load(self.dataset.train_samples(1, seed))
        return measured_recipe(self.recipe, real, images)


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
