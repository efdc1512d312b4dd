"""Runs on disk: what finetune leaves of every final model.

A run is FOLDER/<arm>/<shots>-s<seed>.json with its predictions beside it as .npz; FOLDER/index.json
says how many there are. Accuracies are fractions on disk; they become percent here, as they are
read, and stay so in every table and plot.
"""

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.core.files import read_json
from synthbridge.evidence.settings import CONTROL
from synthbridge.evidence.statistics import mean_per_class_accuracy, top1_accuracy

REAL = "real"  # stands for a method where an arm sees no set
REFERENCE = "vanilla"  # what every arm is compared with
SYNTHETIC_ONLY = "synthetic_only"
MIXED, BRIDGED = "mixed", "bridged"
TEMPLATE = "template"  # the method that the other drawn ones are compared with
CLIP_PREFIX = "clip_"  # of arms on CLIP: another model, never compared with the backbone's arms
ZERO_SHOT = "clip_zero_shot"  # CLIP as it is: no training image, so no shots and no seed
CLIP_REFERENCE = "clip_vanilla"  # what the other tuned arms on CLIP are compared with

Shots = int | str  # images per class, or "full"

EXTRA_TEST = ("extra_top1", "extra_mean_per_class")  # in records, where there is such a set

WAY_OUT = "delete it and run 'dvc repro' to make it again"


@dataclass(frozen=True)
class TestedModel:
    """One final model on the test set. Accuracies in percent."""

    dataset: str
    method: str  # how its images were made: the set's name without its shots, or REAL
    set: str | None  # the generated or retrieved set; None for arms on real images alone
    arm: str
    shots: Shots
    seed: int
    learning_rate: float | None  # None: no leg on real images
    selection: dict[float, float]  # learning rate -> accuracy on the split that selected it
    # That split: "validation", "nothing" (one stated rate), or "test", which marks every number.
    selected_on: str
    num_train: int
    gradient_steps: int
    top1: float
    mean_per_class: float
    train_accuracy: tuple[float, ...]  # an epoch of the last leg
    correct: np.ndarray  # (N,) bool, per test image
    labels: np.ndarray  # (N,) int
    groups: np.ndarray | None = None  # (N,) int, of test images that belong together; None: unknown
    # Other accuracies in percent, by name: on the extra test set, or on classes by frequency.
    beside: Mapping[str, float] = field(default_factory=dict)
    stage_one: str | None = None  # the kind of stage-one model that it started from
    answers: np.ndarray | None = None  # (N,) int, the class that it gives each test image


def is_clip(arm: str) -> bool:
    """Say whether an arm is one on CLIP."""
    return arm.startswith(CLIP_PREFIX)


def shots_key(shots: Shots) -> float:
    """Order shot counts, "full" last."""
    return math.inf if shots == "full" else float(shots)


def arm_key(arm: str) -> tuple[int, str]:
    """Order arms: the reference, its control, its variants, the rest by name, those on CLIP."""
    if arm == REFERENCE:
        return 0, arm
    if arm == CONTROL:
        return 1, arm
    if is_clip(arm):
        return (5 if arm == ZERO_SHOT else 6 if arm == CLIP_REFERENCE else 7), arm
    return (2 if arm.startswith(REFERENCE) else 4 if arm == SYNTHETIC_ONLY else 3), arm


def run_key(run: TestedModel) -> tuple[Any, ...]:
    """Order runs as every table shows them."""
    method = (run.method != REAL, run.method)
    return run.dataset, method, arm_key(run.arm), shots_key(run.shots), run.seed


def read_runs(folders: Iterable[Path], dataset: str) -> list[TestedModel]:
    """Read every run below `folders`, in the order of `run_key`.

    Args:
        folders: of finetune and tune_clip.
        dataset: the one that they must be of.

    Raises:
        ValueError: if there is none, a file is missing or broken, two runs are the same, or they
            are of another data set or were not tested on the same images.
    """
    folders = list(folders)
    paths = list_files(folders, "*.json")
    indices = [path for path in paths if path.name == "index.json"]
    runs = [_read_run(path) for path in paths if path not in indices]
    for index in indices:
        _check_number(index)
    if not runs:
        where = ", ".join(str(folder) for folder in folders)
        raise ValueError(f"no run (<shots>-s<seed>.json) below {where}; run 'dvc repro' first")
    runs.sort(key=run_key)
    _check_runs(runs, dataset)
    return runs


def _check_number(index: Path) -> None:
    """Compare the number of runs beside `index` with what it says."""
    expected = read_whole_json(index).get("num_runs")
    found = sum(path.name != "index.json" for path in index.parent.rglob("*.json"))
    if expected not in (None, found):
        raise ValueError(f"{index.parent} holds {found} runs of {expected}; {WAY_OUT}")


def _check_runs(runs: list[TestedModel], dataset: str) -> None:
    """Refuse another data set, runs that are the same, and other test images or selection."""
    others = [run for run in runs if run.dataset != dataset]
    if others:
        run = others[0]
        raise ValueError(
            f"arm '{run.arm}', shots {run.shots}, seed {run.seed} was run on {run.dataset}, but "
            f"this report is of {dataset}; give it the folders of {dataset} alone"
        )
    selected_on = {run.selected_on for run in runs if not is_clip(run.arm)}
    if len(selected_on) > 1:
        raise ValueError(
            f"some runs on {dataset} have a learning rate selected on "
            f"{' and some on '.join(sorted(selected_on))}; run 'dvc repro' to select all in one way"
        )
    for run, next_run in zip(runs, [*runs[1:], None], strict=True):
        if next_run is not None and run_key(run) == run_key(next_run):
            raise ValueError(
                f"two runs of arm '{run.arm}' with method '{run.method}', shots {run.shots} and "
                f"seed {run.seed} on {run.dataset}; give each set its own method"
            )
        if not _same_images(runs[0], run):
            raise ValueError(
                f"arm '{run.arm}', shots {run.shots}, seed {run.seed} on {run.dataset} was tested "
                "on other images than the rest; run 'dvc repro' to test all on one test set"
            )


def _same_images(first: TestedModel, other: TestedModel) -> bool:
    """Say whether two models were tested on images of the same classes and groups."""
    if (first.groups is None) != (other.groups is None):
        return False
    groups = first.groups is None or np.array_equal(first.groups, other.groups)  # pyright: ignore
    return bool(groups) and np.array_equal(first.labels, other.labels)


def list_files(paths: Iterable[Path], pattern: str) -> list[Path]:
    """List the files that `paths` name, or hold and match `pattern`, each once, sorted.

    Raises:
        ValueError: if a path does not exist.
    """
    files: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; run 'dvc repro' to make it, or leave it out")
        files.update([path] if path.is_file() else path.rglob(pattern))
    return sorted(files)


def read_whole_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: if the file is no whole JSON; names it.
    """
    try:
        return read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not whole JSON ({error}); {WAY_OUT}") from None


def _read_run(path: Path) -> TestedModel:
    record = read_whole_json(path)
    answers, labels, groups = _read_answers(path.with_suffix(".npz"))
    correct = answers == labels
    top1 = top1_accuracy(correct)
    try:
        if not abs(top1 - record["top1"]) < 1e-3:
            raise ValueError(
                f"{path} says top1 {record['top1']}, but its predictions give {top1:.4f}; {WAY_OUT}"
            )
        return TestedModel(
            dataset=record["dataset"],
            method=record["method"],
            set=record["set"],
            arm=record["arm"],
            shots=record["shots"],
            seed=int(record["seed"]),
            learning_rate=record["learning_rate"],
            selection={float(k): 100 * float(v) for k, v in record["selection"].items()},
            selected_on=record.get("selected_on", "validation"),
            num_train=int(record["num_train"]),
            gradient_steps=int(record["gradient_steps"]),
            top1=100 * top1,
            mean_per_class=100 * mean_per_class_accuracy(correct, labels),
            train_accuracy=tuple(100 * v for v in record["curve"]["train_accuracy"]),
            correct=correct,
            labels=labels,
            groups=groups,
            beside={k: 100 * float(record[k]) for k in EXTRA_TEST if k in record},
            stage_one=record.get("stage_one"),
            answers=answers,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole record of a run ({error!r}); {WAY_OUT}") from None


def _read_answers(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Read the class that a model gives each test image, the labels and the groups, (N,)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            probabilities, labels = arrays["probabilities"], arrays["labels"]
            groups = arrays.get("groups")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing beside its record; run 'dvc repro'") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}); {WAY_OUT}") from None
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"{path} holds probabilities {probabilities.shape} and labels {labels.shape}, but "
            f"they must be (N, C) and (N,); {WAY_OUT}"
        )
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise ValueError(
            f"{path} holds NaN for {bad} of {len(labels)} test images, so that training diverged; "
            "lower its learning rates"
        )
    if groups is not None and groups.shape != labels.shape:
        raise ValueError(
            f"{path} holds groups {groups.shape} of {len(labels)} test images; {WAY_OUT}"
        )
    return probabilities.argmax(axis=1), labels, groups
