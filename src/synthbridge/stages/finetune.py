"""Stage `finetune`: a start and real images (with synthetic ones in mixed arms) become models.

One run is one arm, number of shots and seed. It leaves the final model, its record and the class
probabilities of every test image, so that no later statistic needs the model.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from synthbridge.core.files import hash_file, hash_folder, read_json, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, measuring
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.data.manifests import Shots
from synthbridge.data.predictions import write_predictions
from synthbridge.data.real import PreparedDataset, number_groups, read_dataset
from synthbridge.data.run_metrics import write_run_metrics
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import (
    block_folders,
    hash_samples,
    read_named_set,
    synthetic_samples,
)
from synthbridge.training.accuracy import accuracies
from synthbridge.training.arms import (
    ArmData,
    ArmTraining,
    TrainedArm,
    check_arms,
    curve_record,
    describe_legs,
    train_arm,
)
from synthbridge.training.classifier import load_backbone, load_classifier, save_classifier
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import predict
from synthbridge.training.recipe import (
    Recipe,
    describe_normalisation,
    make_recipe,
    measured_recipe,
    recorded_recipe,
)
from synthbridge.training.settings import (
    Legs,
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
    stage_one_steps,
)
from synthbridge.training.sharing import share_trainings
from synthbridge.training.team import Team

MODEL, RECORD, PREDICTIONS = "model.safetensors", "record.json", "predictions.npz"


@dataclass(frozen=True)
class FinetuneParams:
    """What the stage reads of params.yaml."""

    arms: Mapping[str, Sequence[LegSettings]]  # one family
    shots: Sequence[Shots]  # those that the set's runs may see
    seeds: Sequence[int]
    training: TrainingSettings
    real_leg: RealLegSettings
    stage_one: Mapping[str, StageOneSettings]


@dataclass(frozen=True)
class FinetuneInputs:
    """The files that a family of arms needs."""

    real: Path
    backbone: Path
    rates: Path  # what `select` chose
    blocks: Sequence[Path] = ()  # synthetic shards: mixed arms
    stage_one: Path | None = None  # stage-one models: bridged arms
    kept: Path | None = None  # what `examine` keeps of the blocks' images; None: all

    def synthetic_samples(self, seed: int) -> list[Sample]:
        """List the synthetic images that a run with `seed` may see."""
        return synthetic_samples(self.blocks, seed, self.kept)

    def checkpoint(self, legs: Sequence[LegSettings], seed: int) -> Path | None:
        """Return the stage-one model that an arm starts from; None is the backbone itself."""
        if legs[0].stage_one is None:
            return None
        assert self.stage_one is not None
        return self.stage_one / legs[0].stage_one / f"s{seed}.safetensors"


@dataclass(frozen=True)
class Finetuning:
    """One model to train."""

    arm: str
    shots: Shots
    seed: int
    learning_rate: float  # of legs that train
    path: Path  # its unit of work


def finetune(
    params: FinetuneParams,
    inputs: FinetuneInputs,
    *,
    labels: Mapping[str, str | None],
    models: Path,
    results: Path,
    metrics: Path | None = None,
) -> None:
    """Train every run of a family of arms.

    Args:
        params: settings.
        inputs: where the data and the starting models lie.
        labels: dataset, set and method, as the records shall name them.
        models: the folder for the final models.
        results: the folder for records and predictions.
        metrics: a small file of their accuracies, for git.
    """
    count = len(params.arms) * len(params.shots) * len(params.seeds)
    shots = ", ".join(str(shots) for shots in params.shots) or "no"
    log = StageLog("finetune", f"{count} runs of {', '.join(params.arms)} at {shots} shots")
    with start_accelerator() as accelerator:
        rates = read_json(inputs.rates)
        dataset = read_dataset(inputs.real)
        num_steps = stage_one_steps(
            params.stage_one, len(dataset.class_names), params.training.batch_size
        )
        runs = list_runs(params, inputs, rates, num_steps)
        trainer = None
        for run, team in share_trainings(
            accelerator,
            runs,
            what="fine-tuning",
            unit="run",
            log=log,
            params=params,
            inputs=inputs,
        ):
            trainer = trainer or Trainer(params, inputs, dataset, num_steps, team)
            trainer.make(run)
        if accelerator.is_main_process:
            models.mkdir(parents=True, exist_ok=True)
            write_json(results / "index.json", {**labels, "num_runs": len(runs)})
            records = []
            for run in runs:
                selection = describe_selection(rates[str(run.shots)])
                records.append(_publish(run, {**labels, **selection}, models, results))
            if metrics:
                write_run_metrics(metrics, records)
    log.done(f"{count} final models and their predictions", results)


def list_runs(
    params: FinetuneParams,
    inputs: FinetuneInputs,
    rates: Mapping[str, Any],
    num_steps: Mapping[str, int],
) -> list[Finetuning]:
    """List the runs, arms innermost, so that every process gets short and long ones alike.

    Args:
        params: settings.
        inputs: where the data and the starting models lie.
        rates: what `select` chose for each number of shots.
        num_steps: gradient steps of each stage-one model, by its name.
    """
    shared = {
        "real": hash_folder(inputs.real),
        "backbone": hash_folder(inputs.backbone),
        "training": params.training.model_dump(),
        "epochs": params.real_leg.model_dump(exclude={"learning_rates", "select_on"}),
    }
    synthetic = {
        seed: hash_samples(inputs.synthetic_samples(seed)) if inputs.blocks else []
        for seed in params.seeds
    }

    def unit(arm: str, shots: Shots, seed: int) -> Path:
        legs = params.arms[arm]
        named = {name for leg in legs for name in (leg.stage_one, leg.add_steps_of) if name}
        checkpoint = inputs.checkpoint(legs, seed)
        key = unit_key(
            make=Trainer.make,
            arm=arm,
            legs=describe_legs(legs),
            num_steps={name: num_steps[name] for name in sorted(named)},
            checkpoint=hash_file(checkpoint) if checkpoint else None,
            synthetic=synthetic[seed],
            shots=shots,
            seed=seed,
            learning_rate=rates[str(shots)]["learning_rate"],
            **shared,
        )
        return unit_path("finetune", key)

    return [
        Finetuning(arm, shots, seed, rates[str(shots)]["learning_rate"], unit(arm, shots, seed))
        for shots in params.shots
        for seed in params.seeds
        for arm in params.arms
    ]


class Trainer:
    """Makes runs; keeps what they share: the data set and its test images."""

    def __init__(
        self,
        params: FinetuneParams,
        inputs: FinetuneInputs,
        dataset: PreparedDataset,
        num_steps: Mapping[str, int],
        team: Team,
    ):
        """Decode the test images.

        Raises:
            ValueError: if a leg asks for what the backbone cannot do.
        """
        self.params, self.inputs, self.team = params, inputs, team
        self.dataset, self.num_steps = dataset, num_steps
        model = load_backbone(inputs.backbone, num_classes=None, seed=0)
        check_arms(params.arms, model, params.training)
        self.recipe = make_recipe(params.training, inputs.backbone, self.dataset.flip)
        self.test = self._load(self.dataset.samples("test"))
        self.labels = np.array([sample.label for sample in self.dataset.samples("test")])
        self.groups = number_groups(self.dataset.samples("test"))
        extra = self.dataset.extra_test_samples()
        self.extra = self._load(extra) if extra else None
        self.decoded: dict[str, ImageSet] = {}
        self.decoded_for: tuple[Shots, int] | None = None  # the runs that they are of

    def _load(self, samples: Sequence[Sample], *, whole: bool = False) -> ImageSet:
        size = self.params.training.resize_size
        return load_samples(samples, size, self.team.device, whole=whole)

    def make(self, run: Finetuning) -> None:
        """Train one run and leave its model, record and predictions in the work folder."""
        data = self._load_run(run)
        recipe = self._recipe(run, data)
        trained = self._train(run, data, recipe)
        probabilities = predict(trained.model, self.test, recipe, self.team)
        beside = self._test_extra(trained.model, recipe)
        if self.team.rank != 0:
            return
        with whole_unit(run.path) as unit:
            save_classifier(trained.model, unit / MODEL)
            record = self._record(run, trained, probabilities)
            write_json(unit / RECORD, {**record, **describe_normalisation(recipe), **beside})
            predictions = {"probabilities": probabilities, "labels": self.labels, **self.groups}
            write_predictions(unit / PREDICTIONS, predictions)

    def _load_run(self, run: Finetuning) -> ArmData:
        """Decode what a run trains on; synthetic images only where a leg or a measurement asks.

        The arms of one seed and number of shots follow one another and share what is decoded.
        """
        if self.decoded_for != (run.shots, run.seed):
            self.decoded_for, self.decoded = (run.shots, run.seed), {}
        real = self.dataset.train_samples(run.shots, run.seed)
        if "real" not in self.decoded:
            self.decoded["real"] = self._load(real, whole=True)
        mixed = None
        kinds = {leg.train_on for leg in self.params.arms[run.arm]}
        is_measured = self.params.training.normalisation == "synthetic" and self.inputs.blocks
        if kinds & {"mixed", "synthetic"} or is_measured:
            if "mixed" not in self.decoded:
                synthetic = self.inputs.synthetic_samples(run.seed)
                self.decoded["mixed"] = self._load([*real, *synthetic], whole=True)
            mixed = self.decoded["mixed"]
        return ArmData(self.decoded["real"], mixed, len(self.dataset.class_names))

    def _recipe(self, run: Finetuning, data: ArmData) -> Recipe:
        """Return the recipe with the run's statistics: of its start, where that has its own."""
        if checkpoint := self.inputs.checkpoint(self.params.arms[run.arm], run.seed):
            return recorded_recipe(self.recipe, checkpoint)
        synthetic = None if data.mixed is None else data.synthetic
        return measured_recipe(self.recipe, data.real, synthetic)

    def _train(self, run: Finetuning, data: ArmData, recipe: Recipe) -> TrainedArm:
        arm = ArmTraining(
            legs=self.params.arms[run.arm],
            learning_rate=run.learning_rate,
            real_leg=self.params.real_leg,
            stage_one_steps=self.num_steps,
            is_few_shot=run.shots != "full",
            fresh_model=lambda seed: self._network(seed, "random"),
            seed=run.seed,
        )
        with measuring(f"{run.arm}-{run.shots}-s{run.seed}"):
            return train_arm(arm, self._start(arm.legs, run.seed), data, recipe, self.team)

    def _network(self, seed: int, start: Literal["backbone", "random"]) -> nn.Module:
        num_classes = len(self.dataset.class_names)
        return load_backbone(self.inputs.backbone, num_classes=num_classes, seed=seed, start=start)

    def _start(self, legs: Sequence[LegSettings], seed: int) -> nn.Module:
        """Make the model that an arm starts from."""
        model = self._network(seed, self.params.training.start)
        if checkpoint := self.inputs.checkpoint(legs, seed):
            load_classifier(model, checkpoint)
        return model

    def _test_extra(self, model: nn.Module, recipe: Recipe) -> dict[str, float]:
        """Return the accuracies on the extra test set; nothing where there is none."""
        if self.extra is None:
            return {}
        probabilities = predict(model, self.extra, recipe, self.team)
        return accuracies(probabilities, self.extra.labels.cpu().numpy(), "extra_")

    def _record(self, run: Finetuning, trained: TrainedArm, probabilities: np.ndarray) -> dict:
        return {
            "arm": run.arm,
            "stage_one": self.params.arms[run.arm][0].stage_one,
            "shots": run.shots,
            "seed": run.seed,
            "learning_rate": run.learning_rate if trained.num_train else None,
            "num_train": trained.num_train,
            "gradient_steps": trained.gradient_steps,
            **accuracies(probabilities, self.labels),
            "curve": curve_record(trained.curve),
        }


def describe_selection(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of how its learning rate was selected.

    Args:
        chosen: what `select` says of one number of shots. Its accuracies are called by the split
            that they were measured on; those on test images mark the record. A rate that was
            given has none.
    """
    if "selected_on" in chosen:
        return {"selection": {}, "selected_on": chosen["selected_on"]}
    if "test_accuracy" in chosen:
        return {"selection": chosen["test_accuracy"], "selected_on": "test"}
    return {"selection": chosen["held_out_accuracy"]}


def _publish(
    run: Finetuning, labels: Mapping[str, Any], models: Path, results: Path
) -> dict[str, Any]:
    """Copy a finished run out of the work folder; return its record."""
    name = f"{run.shots}-s{run.seed}"
    record = {**read_json(run.path / RECORD), **labels}
    write_json(results / run.arm / f"{name}.json", record)
    shutil.copyfile(run.path / PREDICTIONS, results / run.arm / f"{name}.npz")
    (models / run.arm).mkdir(exist_ok=True)
    shutil.copyfile(run.path / MODEL, models / run.arm / f"{name}.safetensors")
    return record


def main(arguments: list[str] | None = None) -> None:
    """Take the names and paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="finetune", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--family", required=True, help="a group below `arms` in params.yaml")
    parser.add_argument("--set", help="one of `sets` in params.yaml")
    for name in ("--real", "--backbone", "--rates", "--models", "--results"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--metrics", type=Path, help="a small file of accuracies, for git")
    parser.add_argument("--blocks", type=Path, help="for mixed arms: the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, default=0)
    parser.add_argument("--kept", type=Path, help="what examine keeps of the set (default: all)")
    parser.add_argument("--stage-one", type=Path, help="for bridged arms")
    args = parser.parse_args(arguments)
    blocks = block_folders(args.blocks, args.num_blocks) if args.blocks else []
    sections = Sections()
    of_set = read_named_set(sections, args.set)
    finetune(
        FinetuneParams(
            arms=sections.read(dict[str, Legs], f"arms.{args.family}"),
            shots=of_set.serves(sections.read(list[Shots], "shots")),
            seeds=sections.read(list[int], "seeds"),
            training=sections.read(TrainingSettings, "training"),
            real_leg=sections.read(RealLegSettings, "real_leg"),
            stage_one=sections.read(dict[str, StageOneSettings], "stage_one"),
        ),
        FinetuneInputs(args.real, args.backbone, args.rates, blocks, args.stage_one, args.kept),
        labels={"dataset": args.dataset, "set": args.set, "method": of_set.method},
        models=args.models,
        results=args.results,
        metrics=args.metrics,
    )
