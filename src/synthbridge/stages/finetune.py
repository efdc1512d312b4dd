"""Stage `finetune`: a start and real images (with synthetic ones in mixed arms) become models.

One run is one arm, number of shots and seed. It leaves the final model, its record and the class
probabilities of every test image, so that no later statistic needs the model.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from synthbridge.data.manifests import Shots
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import synthetic_samples
from synthbridge.files import hash_file, hash_folder, read_json, whole_file, write_json
from synthbridge.progress import StageLog, progress
from synthbridge.stages.params import Params, read_params, source_name
from synthbridge.stages.processes import missing_units, my_share, start_accelerator
from synthbridge.stages.training_inputs import load_samples, make_recipe
from synthbridge.training.accuracy import mean_per_class, top1
from synthbridge.training.arms import ArmData, TrainedArm, curve_record, describe_legs, train_arm
from synthbridge.training.classifier import load_backbone, load_classifier, save_classifier
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import predict
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.training.team import Team, form_team
from synthbridge.work import unit_key, unit_path, whole_unit

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
    blocks: Sequence[Path] = ()  # synthetic shards: mixed arms
    stage_one: Path | None = None  # stage-one models: bridged arms

    def checkpoint(self, legs: Sequence[LegSettings], seed: int) -> Path | None:
        """Return the stage-one model that an arm starts from; None is the backbone itself."""
        if legs[0].stage_one is None:
            return None
        assert self.stage_one is not None
        return self.stage_one / legs[0].stage_one / f"s{seed}.safetensors"


@dataclass(frozen=True)
class Run:
    """One model to train."""

    arm: str
    shots: Shots
    seed: int
    path: Path  # its unit of work


def finetune(
    params: FinetuneParams,
    inputs: FinetuneInputs,
    *,
    labels: Mapping[str, str | None],
    models: Path,
    results: Path,
) -> None:
    """Train every run of a family of arms.

    Args:
        params: settings.
        inputs: where the data and the starting models lie.
        labels: dataset, set and source, as the records shall name them.
        models: the folder for the final models.
        results: the folder for records and predictions.
    """
    count = len(params.arms) * len(params.shots) * len(params.seeds)
    shots = ", ".join(str(shots) for shots in params.shots) or "no"
    log = StageLog(f"finetune: {count} runs of {', '.join(params.arms)} at {shots} shots")
    with start_accelerator() as accelerator:
        runs = list_runs(params, inputs)
        missing = missing_units(accelerator, runs, lambda run: run.path.is_dir())
        team = form_team(accelerator, len(missing))
        mine = missing if team.size > 1 else my_share(accelerator, missing)
        if mine:
            trainer = Trainer(params, inputs, team)
            for run in progress(mine, total=len(mine), what="fine-tuning", unit="run"):
                trainer.make(run)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            models.mkdir(parents=True, exist_ok=True)
            write_json(results / "index.json", {**labels, "num_runs": len(runs)})
            for run in runs:
                _publish(run, labels, models, results)
    log.done(f"{count} final models and their predictions", results)


def _publish(run: Run, labels: Mapping[str, str | None], models: Path, results: Path) -> None:
    """Copy a finished run out of the work folder."""
    name = f"{run.shots}-s{run.seed}"
    write_json(results / run.arm / f"{name}.json", {**read_json(run.path / RECORD), **labels})
    shutil.copyfile(run.path / PREDICTIONS, results / run.arm / f"{name}.npz")
    (models / run.arm).mkdir(exist_ok=True)
    shutil.copyfile(run.path / MODEL, models / run.arm / f"{name}.safetensors")


def list_runs(params: FinetuneParams, inputs: FinetuneInputs) -> list[Run]:
    """List the runs, arms innermost: what a process takes is short and long ones alike."""
    shared = {
        "real": hash_folder(inputs.real),
        "backbone": hash_folder(inputs.backbone),
        "training": params.training.model_dump(),
        "real_leg": params.real_leg.model_dump(),
    }
    synthetic = {seed: _hash_shards(inputs.blocks, seed) for seed in params.seeds}

    def unit(arm: str, shots: Shots, seed: int) -> Path:
        legs = params.arms[arm]
        named = {name for leg in legs for name in (leg.stage_one, leg.add_steps_of) if name}
        checkpoint = inputs.checkpoint(legs, seed)
        key = unit_key(
            arm=arm,
            legs=describe_legs(legs),
            num_steps={name: params.stage_one[name].num_steps for name in sorted(named)},
            checkpoint=hash_file(checkpoint) if checkpoint else None,
            synthetic=synthetic[seed],
            shots=shots,
            seed=seed,
            **shared,
        )
        return unit_path("finetune", key)

    return [
        Run(arm, shots, seed, unit(arm, shots, seed))
        for shots in params.shots
        for seed in params.seeds
        for arm in params.arms
    ]


def _hash_shards(blocks: Sequence[Path], seed: int) -> list[str]:
    shards = {sample.shard for sample in synthetic_samples(blocks, seed)} if blocks else set()
    return [hash_file(shard) for shard in sorted(shards)]


class Trainer:
    """Makes runs; keeps what they share: the data set, its validation and test images."""

    def __init__(self, params: FinetuneParams, inputs: FinetuneInputs, team: Team):
        """Decode the held-out and the test images."""
        self.params, self.inputs, self.team = params, inputs, team
        self.dataset: PreparedDataset = read_dataset(inputs.real)
        self.recipe = make_recipe(params.training, inputs.backbone, self.dataset.flip)
        self.validation = self._load(self.dataset.samples("validation"))
        self.test = self._load(self.dataset.samples("test"))
        self.labels = np.array([sample.label for sample in self.dataset.samples("test")])

    def _load(self, samples: Sequence[Sample]) -> ImageSet:
        return load_samples(samples, self.params.training.resize_size, self.team.device)

    def make(self, run: Run) -> None:
        """Train one run and leave its model, record and predictions in the work folder."""
        trained = self._train(run)
        probabilities = predict(trained.model, self.test, self.recipe, self.team)
        if self.team.rank != 0:
            return
        with whole_unit(run.path) as unit:
            save_classifier(trained.model, unit / MODEL)
            write_json(unit / RECORD, self._record(run, trained, probabilities))
            with whole_file(unit / PREDICTIONS) as partial, partial.open("wb") as file:
                np.savez_compressed(file, probabilities=probabilities, labels=self.labels)

    def _train(self, run: Run) -> TrainedArm:
        legs = self.params.arms[run.arm]
        real = self.dataset.train_samples(run.shots, run.seed)
        mixed = None
        if any(leg.train_on == "mixed" for leg in legs):
            mixed = self._load([*real, *synthetic_samples(self.inputs.blocks, run.seed)])
        return train_arm(
            legs,
            lambda: self._start(legs, run.seed),
            ArmData(self._load(real), mixed, self.validation, len(self.dataset.class_names)),
            self.recipe,
            real_leg=self.params.real_leg,
            stage_one=self.params.stage_one,
            is_few_shot=run.shots != "full",
            seed=run.seed,
            team=self.team,
        )

    def _start(self, legs: Sequence[LegSettings], seed: int) -> nn.Module:
        """Make the model that an arm starts from."""
        num_classes = len(self.dataset.class_names)
        model = load_backbone(self.inputs.backbone, num_classes=num_classes, seed=seed)
        if checkpoint := self.inputs.checkpoint(legs, seed):
            load_classifier(model, checkpoint)
        return model

    def _record(self, run: Run, trained: TrainedArm, probabilities: np.ndarray) -> dict:
        return {
            "arm": run.arm,
            "shots": run.shots,
            "seed": run.seed,
            "learning_rate": trained.learning_rate,
            "selection": trained.selection,
            "num_train": trained.num_train,
            "gradient_steps": trained.gradient_steps,
            "top1": top1(probabilities, self.labels),
            "mean_per_class": mean_per_class(probabilities, self.labels),
            "curve": curve_record(trained.curve),
        }


def _choose_shots(params: Params, set_name: str | None) -> list[Shots]:
    """Return the shots that runs with a set may see: a set learned from k shots serves k alone."""
    own = params.synthetic[set_name].shots if set_name else None
    return [shots for shots in params.shots if own is None or shots == own]


def main(arguments: list[str] | None = None) -> None:
    """Take the names and paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="finetune", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--family", required=True, help="a group below `arms` in params.yaml")
    parser.add_argument("--set", help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--backbone", "--models", "--results"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, nargs="+", default=[], help="for mixed arms")
    parser.add_argument("--stage-one", type=Path, help="for bridged arms")
    args = parser.parse_args(arguments)
    params = read_params()
    source = source_name(args.set, params.synthetic[args.set]) if args.set else "real"
    finetune(
        FinetuneParams(
            arms=getattr(params.arms, args.family),
            shots=_choose_shots(params, args.set),
            seeds=params.seeds,
            training=params.training,
            real_leg=params.real_leg,
            stage_one=params.stage_one,
        ),
        FinetuneInputs(args.real, args.backbone, args.blocks, args.stage_one),
        labels={"dataset": args.dataset, "set": args.set, "source": source},
        models=args.models,
        results=args.results,
    )
