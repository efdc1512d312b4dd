"""Stage `select`: one learning rate for each number of shots, chosen on held-out images.

Plain fine-tuning (vanilla) is trained at every rate and every seed; the rate whose mean accuracy
on the validation images is best serves every arm. So no arm is tuned more than the one it is
compared with, test images are never read, and many rates cost one arm's time (the paper, too,
reports one rate a data set: Bridged, table 5).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbridge.data.manifests import Shots
from synthbridge.data.real import read_dataset
from synthbridge.files import hash_folder, read_json, write_json
from synthbridge.progress import StageLog, progress
from synthbridge.stages.params import read_params
from synthbridge.stages.processes import missing_units, my_share, start_accelerator
from synthbridge.stages.training_inputs import load_samples, make_recipe
from synthbridge.training.arms import ArmData, held_out_accuracy, train_arm
from synthbridge.training.classifier import load_backbone
from synthbridge.training.loop import DivergedError
from synthbridge.training.settings import LegSettings, RealLegSettings, TrainingSettings
from synthbridge.training.team import Team, form_team
from synthbridge.work import unit_key, unit_path, whole_unit

VANILLA = (LegSettings(train_on="real"),)
RECORD = "record.json"


@dataclass(frozen=True)
class Trial:
    """One model to train and to judge on held-out images."""

    shots: Shots
    seed: int
    learning_rate: float
    path: Path  # its unit of work


def select(
    real_leg: RealLegSettings,
    training: TrainingSettings,
    shots: Sequence[Shots],
    seeds: Sequence[int],
    *,
    real: Path,
    backbone: Path,
    out: Path,
) -> None:
    """Write the chosen rate of each number of shots, and the accuracies that decided."""
    count = len(shots) * len(seeds) * len(real_leg.learning_rates)
    log = StageLog(f"select: {count} trials of learning rates {real_leg.learning_rates}")
    with start_accelerator() as accelerator:
        trials = _list_trials(real_leg, training, shots, seeds, real, backbone)
        missing = missing_units(accelerator, trials, lambda trial: trial.path.is_dir())
        team = form_team(accelerator, len(missing))
        mine = missing if team.size > 1 else my_share(accelerator, missing)
        for trial in progress(mine, total=len(mine), what="trying rates", unit="trial"):
            _try(trial, real_leg, training, real, backbone, team)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_json(out, {str(k): choose_rate(trials, k) for k in shots})
    log.done(f"rates for {list(shots)} shots", out)


def _list_trials(
    real_leg: RealLegSettings,
    training: TrainingSettings,
    shots: Sequence[Shots],
    seeds: Sequence[int],
    real: Path,
    backbone: Path,
) -> list[Trial]:
    epochs = real_leg.model_dump(exclude={"learning_rates"})
    shared = [epochs, training.model_dump(), hash_folder(real), hash_folder(backbone)]
    return [
        Trial(
            k, seed, rate, unit_path("select", unit_key(k=k, seed=seed, rate=rate, shared=shared))
        )
        for k in shots
        for seed in seeds
        for rate in real_leg.learning_rates
    ]


def _try(
    trial: Trial,
    real_leg: RealLegSettings,
    training: TrainingSettings,
    real: Path,
    backbone: Path,
    team: Team,
) -> None:
    """Train one trial and leave its held-out accuracy in the work folder: 0 if it diverged."""
    dataset = read_dataset(real)
    recipe = make_recipe(training, backbone, dataset.flip)
    num_classes, size = len(dataset.class_names), training.resize_size
    shots = load_samples(dataset.train_samples(trial.shots, trial.seed), size, team.device)
    model = load_backbone(backbone, num_classes=num_classes, seed=trial.seed)
    try:
        train_arm(
            VANILLA,
            model,
            ArmData(shots, None, num_classes),
            recipe,
            learning_rate=trial.learning_rate,
            real_leg=real_leg,
            stage_one={},
            is_few_shot=trial.shots != "full",
            seed=trial.seed,
            team=team,
        )
        validation = load_samples(dataset.samples("validation"), size, team.device)
        accuracy = held_out_accuracy(model, validation, recipe, team)
    except DivergedError:
        accuracy = 0.0
    if team.rank == 0:
        with whole_unit(trial.path) as unit:
            write_json(unit / RECORD, {"held_out_accuracy": accuracy})


def choose_rate(trials: Sequence[Trial], shots: Shots) -> dict:
    """Return the rate with the best mean held-out accuracy; of equals the one listed first.

    Raises:
        ValueError: if training diverged at every rate.
    """
    accuracies: dict[float, list[float]] = {}
    for trial in trials:
        if trial.shots == shots:
            accuracy = read_json(trial.path / RECORD)["held_out_accuracy"]
            accuracies.setdefault(trial.learning_rate, []).append(accuracy)
    means = {rate: float(np.mean(values)) for rate, values in accuracies.items()}
    best = max(means, key=lambda rate: means[rate])
    if means[best] == 0:
        raise ValueError(
            f"training at {shots} shots diverged at every rate of {list(means)}; add a lower one "
            "to real_leg.learning_rates"
        )
    held_out = {f"{rate:g}": mean for rate, mean in means.items()}
    return {"learning_rate": best, "held_out_accuracy": held_out}


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="select", description=__doc__)
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    params = read_params()
    select(params.real_leg, params.training, params.shots, params.seeds, **vars(args))
