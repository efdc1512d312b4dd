"""Stage `select`: one learning rate for each number of shots, chosen on held-out images.

Plain fine-tuning (vanilla) is trained at every rate and every seed; the rate whose mean accuracy
on the validation images is best serves every arm. So no arm is tuned more than the one it is
compared with, test images are never read, and many rates cost one arm's time (the paper, too,
reports one rate a data set: Bridged, table 5).

Only `real_leg.select_on: test`, the paper's own way, judges the rates on the test images; the
rates then say so, and every number made with them does. With `nothing` there is one rate, no model
is trained, and no labelled image beside a run's own has a say in its result.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.data.manifests import Shots
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import Sample
from synthbridge.training.arms import ArmData, ArmTraining, held_out_accuracy, train_arm
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import DivergedError
from synthbridge.training.recipe import Recipe, make_recipe, measured_recipe
from synthbridge.training.settings import LegSettings, RealLegSettings, TrainingSettings
from synthbridge.training.sharing import share_trainings
from synthbridge.training.team import Team

VANILLA = (LegSettings(train_on="real"),)
RECORD = "record.json"
# What the accuracies of a split are called beside the rate that they chose.
ACCURACIES = {"validation": "held_out_accuracy", "test": "test_accuracy"}


@dataclass(frozen=True)
class SelectParams:
    """What the stage reads of params.yaml."""

    real_leg: RealLegSettings
    training: TrainingSettings
    shots: Sequence[Shots]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Trial:
    """One model to train and to judge."""

    shots: Shots
    seed: int
    learning_rate: float
    path: Path  # its unit of work


def select(params: SelectParams, *, real: Path, backbone: Path, out: Path) -> None:
    """Write the chosen rate of each number of shots, and the accuracies that decided."""
    split, rates = params.real_leg.select_on, params.real_leg.learning_rates
    if split == "nothing":
        say(f"select: learning rate {rates[0]:g} is given (real_leg.select_on); nothing to train")
        given = {"learning_rate": rates[0], "selected_on": "nothing"}
        with start_accelerator() as accelerator:
            if accelerator.is_main_process:
                write_json(out, {str(shots): given for shots in params.shots})
        return
    trials = _list_trials(params, real, backbone)
    log = StageLog("select", f"{len(trials)} trials of learning rates {rates}")
    if split == "test":
        say("  judged on test images (real_leg.select_on): every number made so will be marked")
    with start_accelerator() as accelerator:
        tester = None
        for trial, team in share_trainings(
            accelerator,
            trials,
            what="trying rates",
            unit="trial",
            log=log,
            params=params,
            real=real,
        ):
            tester = tester or Tester(params, real, backbone, team)
            tester.make(trial)
        if accelerator.is_main_process:
            write_json(out, {str(k): choose_rate(trials, k, split) for k in params.shots})
    log.done(f"rates for {list(params.shots)} shots", out)


def _list_trials(params: SelectParams, real: Path, backbone: Path) -> list[Trial]:
    leg = params.real_leg.model_dump(exclude={"learning_rates"})  # epochs; the split that judges
    shared = [leg, params.training.model_dump(), hash_folder(real), hash_folder(backbone)]

    def unit(shots: Shots, seed: int, rate: float) -> Path:
        return unit_path(
            "select", unit_key(make=Tester.make, k=shots, seed=seed, rate=rate, shared=shared)
        )

    return [
        Trial(shots, seed, rate, unit(shots, seed, rate))
        for shots in params.shots
        for seed in params.seeds
        for rate in params.real_leg.learning_rates
    ]


class Tester:
    """Makes trials; keeps what they share: the data set and the images that judge."""

    def __init__(self, params: SelectParams, real: Path, backbone: Path, team: Team):
        """Decode the images that judge: the held-out ones, unless the settings say test."""
        self.params, self.backbone, self.team = params, backbone, team
        self.dataset = read_dataset(real)
        self.recipe = make_recipe(params.training, backbone, self.dataset.flip)
        self.judges = self._load(self.dataset.samples(params.real_leg.select_on))

    def _load(self, samples: Sequence[Sample], *, whole: bool = False) -> ImageSet:
        size = self.params.training.resize_size
        return load_samples(samples, size, self.team.device, whole=whole)

    def make(self, trial: Trial) -> None:
        """Train one trial and leave its accuracy as its unit: null if it diverged."""
        try:
            model, recipe = self._train(trial)
            accuracy = held_out_accuracy(model, self.judges, recipe, self.team)
        except DivergedError:
            accuracy = None  # not 0, which a few held-out images may give in all honesty
        if self.team.rank == 0:
            with whole_unit(trial.path) as unit:
                write_json(unit / RECORD, {"accuracy": accuracy})

    def _train(self, trial: Trial) -> tuple[nn.Module, Recipe]:
        num_classes = len(self.dataset.class_names)
        network = partial(load_backbone, self.backbone, num_classes=num_classes)
        arm = ArmTraining(
            legs=VANILLA,
            learning_rate=trial.learning_rate,
            real_leg=self.params.real_leg,
            stage_one_steps={},
            is_few_shot=trial.shots != "full",
            fresh_model=lambda seed: network(seed=seed, start="random"),
            seed=trial.seed,
        )
        model = network(seed=trial.seed, start=self.params.training.start)
        real = self._load(self.dataset.train_samples(trial.shots, trial.seed), whole=True)
        recipe = measured_recipe(self.recipe, real, None)
        train_arm(arm, model, ArmData(real, None, num_classes), recipe, self.team)
        return model, recipe


def choose_rate(trials: Sequence[Trial], shots: Shots, split: str) -> dict:
    """Return the rate with the best mean accuracy; of equals the one listed first.

    Args:
        trials: finished ones.
        shots: those of this number count.
        split: whose images judged; it names the accuracies in what is returned.

    Raises:
        ValueError: if training diverged at every rate.
    """
    accuracies: dict[float, list[float | None]] = {}
    for trial in trials:
        if trial.shots == shots:
            accuracy = read_json(trial.path / RECORD)["accuracy"]
            accuracies.setdefault(trial.learning_rate, []).append(accuracy)
    means = {rate: float(np.mean([v or 0 for v in values])) for rate, values in accuracies.items()}
    usable = [rate for rate, values in accuracies.items() if any(v is not None for v in values)]
    if not usable:
        raise ValueError(
            f"training at {shots} shots diverged at every rate of {list(means)}; add a lower one "
            "to real_leg.learning_rates"
        )
    best = max(usable, key=lambda rate: means[rate])
    return {
        "learning_rate": best,
        ACCURACIES[split]: {f"{rate:g}": mean for rate, mean in means.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="select", description=__doc__)
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    params = SelectParams(
        real_leg=sections.read(RealLegSettings, "real_leg"),
        training=sections.read(TrainingSettings, "training"),
        shots=sections.read(list[Shots], "shots"),
        seeds=sections.read(list[int], "seeds"),
    )
    select(params, **vars(args))
