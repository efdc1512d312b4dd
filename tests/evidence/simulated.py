"""Simulated results: what finetune, probe and invert would leave on disk, in known strength."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbridge.data.shards import encode_png, write_shard
from synthbridge.evidence.settings import PrimaryComparison, ReportSettings

SETTINGS = ReportSettings(
    primary=PrimaryComparison(arm="bridged", method="dsi", shots=4, reference="vanilla"),
    measure="top1",
    smallest_gain=1.0,
    confidence=0.95,
    grid_classes=10,
    grid_images=3,
)

NUM_CLASSES, NUM_TEST = 10, 900
BASE = {1: 0.68, 4: 0.86, "full": 0.97}  # vanilla's accuracy
REAL_GAINS = {"vanilla": 0.0, "vanilla_equal_steps": 0.01, "vanilla_fc_reinit": -0.03}
GAINS = {
    "mixed": 0.2,
    "mixed_mixup": 0.15,
    "synthetic_only": -0.3,
    "bridged": 0.3,
    "bridged_fc_reinit": 0.2,
    "bridged_pp": 0.35,
}
STEPS = {"vanilla": 300, "vanilla_fc_reinit": 600, "synthetic_only": 900}  # the others 1200
METHOD_FACTOR = {"template": 0.6, "dsi": 1.0, "retrieved": 0.8, "pool": 0.8}


@dataclass(frozen=True, order=True)
class Cell:
    """What names a run."""

    dataset: str
    method: str
    set: str | None
    arm: str
    shots: int | str
    seed: int


def simulate_runs(
    folder: Path,
    *,
    dataset: str = "digits",
    shots: Iterable[int | str] = (1, 4, "full"),
    seeds: Iterable[int] = (0, 1, 2),
    methods: Iterable[str] = ("template", "dsi"),
    num_test: int = NUM_TEST,
    num_groups: int | None = None,
    **record: str,
) -> set[Cell]:
    """Write runs below `folder`; a gain is the fraction of vanilla's errors that an arm mends.

    With `num_groups` the test images come in so many groups. `record` is added to every record.
    Return the runs that were written.
    """
    written = set()
    rng = np.random.default_rng(sum(dataset.encode()))
    labels = np.sort(rng.integers(NUM_CLASSES, size=num_test))
    ease = rng.uniform(-0.3, 0.3, size=num_test)
    groups = None if num_groups is None else np.arange(num_test, dtype=np.int32) % num_groups
    for count in shots:
        for seed in seeds:
            luck = rng.normal(0, 0.1)
            cells = [("real", arm, gain) for arm, gain in REAL_GAINS.items()]
            cells += [
                (method, arm, gain * (METHOD_FACTOR[method] if gain > 0 else 1))
                for method in methods
                for arm, gain in GAINS.items()
            ]
            draw = rng.random(num_test)
            for method, arm, gain in cells:
                errors = (1 - BASE[count]) * (1 - gain + luck + 0.05 * rng.standard_normal())
                fresh = np.where(rng.random(num_test) < 0.8, draw, rng.random(num_test))
                correct = fresh > np.clip(errors * (1 + ease), 0, 1)
                name = {"real": None, "dsi": f"dsi_{count}"}.get(method, method)
                cell = Cell(dataset, method, name, arm, count, seed)
                into = folder / dataset / method / arm
                write_run(into, cell, correct, labels, rng, groups=groups, **record)
                written.add(cell)
    return written


def write_run(folder, cell, correct, labels, rng, *, groups=None, **more):
    """Write the record and the predictions of one run."""
    answers = np.where(correct, labels, (labels + rng.integers(1, 10, len(labels))) % NUM_CLASSES)
    probabilities = np.full((len(labels), NUM_CLASSES), 0.02, np.float32)
    probabilities[np.arange(len(labels)), answers] = 0.82
    by_class = [correct[labels == label].mean() for label in np.unique(labels)]
    bridged, alone = cell.arm.startswith("bridged"), cell.arm == "synthetic_only"
    epochs = np.arange(1, 31)
    curve = 1 - (0.4 if bridged else 0.85) * np.exp(-epochs / (5 if bridged else 9))
    record = {
        "dataset": cell.dataset,
        "set": cell.set,
        "method": cell.method,
        "arm": cell.arm,
        "stage_one": "plain" if bridged or alone else None,
        "shots": cell.shots,
        "seed": cell.seed,
        "learning_rate": None if alone else 0.03,
        "selection": {} if alone else {"0.1": 0.7, "0.03": 0.8, "0.01": 0.6},
        "num_train": NUM_CLASSES * (85 if cell.shots == "full" else cell.shots),
        "gradient_steps": STEPS.get(cell.arm, 1200),
        "top1": round(float(correct.mean()), 4),
        "mean_per_class": round(float(np.mean(by_class)), 4),
        "curve": {
            "train_accuracy": (curve + 0.01 * rng.standard_normal(30)).clip(0, 1).tolist(),
            "train_loss": np.exp(-epochs / 8).tolist(),
        },
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{cell.shots}-s{cell.seed}"
    path.with_suffix(".json").write_text(json.dumps(record))
    known = {} if groups is None else {"groups": groups}
    np.savez(path.with_suffix(".npz"), probabilities=probabilities, labels=labels, **known)


def simulate_clip(folder, labels, *, shots, seeds, dataset="digits"):
    """Write zero-shot CLIP and tuned arms, tested on the images with `labels`."""
    rng = np.random.default_rng(5)
    tuned = [(count, seed) for count in shots for seed in seeds]
    cells = [Cell(dataset, "real", None, "clip_zero_shot", 0, 0)]
    cells += [Cell(dataset, "real", None, "clip_vanilla", *one) for one in tuned]
    cells += [Cell(dataset, "template", "template", "clip_mixed", *one) for one in tuned]
    extra = {"extra_top1": 0.25, "extra_mean_per_class": 0.2}
    for cell in cells:
        correct = rng.random(len(labels)) < 0.4
        into = folder / cell.method / cell.arm
        write_run(into, cell, correct, labels, rng, selection={}, **extra)


FIXED, OWN_HEAD = "fixed_feature_accuracy", "fixed_feature_own_head_accuracy"


def simulate_probe(path: Path, *, dataset: str = "digits") -> list[dict]:
    """Write LEEP, LogME and fixed-feature rows, and return them."""
    own = {"dataset": dataset, "set": None, "method": None, "model": "upstream"}
    random_head = {**own, "measure": "leep_random_head"}
    rows = [
        {**own, "seed": None, "measure": "leep", "value": -1.9},
        *({**own, "seed": seed, "measure": FIXED, "value": 0.8} for seed in range(3)),
        *({**random_head, "seed": seed, "value": -2.3 + 0.01 * seed} for seed in range(3)),
    ]
    for name, method, leep in (("template", "template", -1.4), ("dsi_4", "dsi", -0.9)):
        about = {"dataset": dataset, "set": name, "method": method, "model": "plain"}
        for seed in range(3):
            rows += [
                {**about, "seed": seed, "measure": "leep", "value": leep + 0.01 * seed},
                {**about, "seed": seed, "measure": "logme", "value": 0.3 + 0.02 * leep * seed},
                {**about, "seed": seed, "measure": FIXED, "value": 0.85},
                {**about, "seed": seed, "measure": OWN_HEAD, "value": 0.84},
            ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return rows


def simulate_style(folder: Path, subsets: Iterable[str] = ("s0", "s1", "s2")) -> None:
    """Write the loss curves of style tokens, as invert does."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for subset in subsets:
        with (folder / f"{subset}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "fixed_noise_loss"])
            for step in range(301):
                level = 0.25 + 0.15 * np.exp(-step / 60)
                loss = f"{level * rng.lognormal(0, 0.4):.5f}" if step else ""
                writer.writerow([step, loss, f"{level:.5f}" if step % 50 == 0 else ""])


def simulate_examined(folder: Path, *, threshold: float = 0.9) -> None:
    """Write the findings of examine, with a class too small for FID."""
    fractions = {"precision": 0.5, "recall": 0.25, "density": 1.1, "coverage": 0.4}
    mean = {"fid": 12.3456, "kid": 0.1234, **fractions}
    zero = {"class": "zero", "num_real": 8, "num_images": 6, "precision": 1.0}
    needs = {"fid": 50, "kid": 10, "neighbours": 6}
    gap = {**mean, "num_real": 80, "num_images": 60, "needs": needs, "by_class": [zero]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gap.json").write_text(
        json.dumps({"subsets": {"all": gap}, "mean": mean, "clip": "a/clip", "kept_fraction": 0.3})
    )
    leakage = {
        "threshold": threshold,
        "num_images": 60,
        "num_near_duplicates": 3,
        "fraction": 0.05,
        "real_train": {"num_images": 80, "num_near_duplicates": 2, "fraction": 0.025},
        "pairs": [],
    }
    (folder / "leakage.json").write_text(json.dumps(leakage))
    (folder / "pairs.png").write_bytes(encode_png(np.zeros((2, 4, 3), np.uint8)))


def simulate_choice(folder: Path) -> None:
    """Write what `deliver` says of the model that it chose."""
    choice = {"arm": "bridged", "set": "dsi_4", "shots": 4, "num_members": 1, "measure": "top1"}
    choice |= {"num_held_out": 120, "num_close": 2, "candidates": [{}] * 9}
    choice |= {
        "seeds": [0, 1, 2],
        "test": {"accuracy": 89.2, "low": 86.1, "high": 91.9, "mean_over_seeds": 88.8},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "choice.json").write_text(json.dumps(choice))


def write_pictures(path: Path, shade: int, **record: str) -> None:
    """Write a shard of 30 grey pictures of ten classes."""
    image = encode_png(np.full((16, 16, 3), shade, np.uint8))
    samples = []
    for index in range(30):
        about = {"class_name": f"digit {index % 10}", **record}
        samples.append({"__key__": f"x{index}", "png": image, "cls": index % 10, "json": about})
    write_shard(path, samples)
