"""Simulated results: what finetune, probe and invert would leave on disk, in known strength."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from synthbridge.data.shards import encode_png

NUM_CLASSES, NUM_TEST = 10, 900
BASE = {1: 0.68, 4: 0.86, "full": 0.97}  # vanilla's accuracy
REAL_GAINS = {"vanilla": 0.0, "vanilla_equal_steps": 0.01, "vanilla_fc_reinit": -0.03}
GAINS = {"mixed": 0.2, "mixed_mixup": 0.15, "synthetic_only": -0.3, "bridged": 0.3,
         "bridged_fc_reinit": 0.2, "bridged_pp": 0.35}  # fmt: skip
SOURCE_FACTOR = {"template": 0.6, "dsi": 1.0, "retrieved": 0.8, "pool": 0.8}


def simulate_runs(
    folder: Path,
    *,
    dataset: str = "digits",
    shots: Iterable[int | str] = (1, 4, "full"),
    seeds: Iterable[int] = (0, 1, 2),
    methods: Iterable[str] = ("template", "dsi"),
    num_test: int = NUM_TEST,
    **record: str,
) -> None:
    """Write runs below `folder`; a gain is the share of vanilla's errors that an arm mends.

    `record` is added to every record.
    """
    rng = np.random.default_rng(sum(dataset.encode()))
    labels = np.sort(rng.integers(NUM_CLASSES, size=num_test))
    ease = rng.uniform(-0.3, 0.3, size=num_test)
    for count in shots:
        for seed in seeds:
            luck = rng.normal(0, 0.1)
            cells = [("real", arm, gain) for arm, gain in REAL_GAINS.items()]
            cells += [
                (method, arm, gain * (SOURCE_FACTOR[method] if gain > 0 else 1))
                for method in methods
                for arm, gain in GAINS.items()
            ]
            draw = rng.random(num_test)
            for method, arm, gain in cells:
                errors = (1 - BASE[count]) * (1 - gain + luck + 0.05 * rng.standard_normal())
                fresh = np.where(rng.random(num_test) < 0.8, draw, rng.random(num_test))
                correct = fresh > np.clip(errors * (1 + ease), 0, 1)
                name = method if method != "dsi" else f"dsi_{count}"
                write_run(folder / dataset / method / arm, dataset, method, name, arm, count, seed,
                          correct, labels, rng, **record)  # fmt: skip


def write_run(
    folder, dataset, method, name, arm, shots, seed, correct, labels, rng, **more
):  # fmt: skip
    answers = np.where(correct, labels, (labels + rng.integers(1, 10, len(labels))) % NUM_CLASSES)
    probabilities = np.full((len(labels), NUM_CLASSES), 0.02, np.float32)
    probabilities[np.arange(len(labels)), answers] = 0.82
    by_class = [correct[labels == label].mean() for label in np.unique(labels)]
    bridged = arm.startswith("bridged")
    epochs = np.arange(1, 31)
    curve = 1 - (0.4 if bridged else 0.85) * np.exp(-epochs / (5 if bridged else 9))
    record = {
        "dataset": dataset,
        "set": None if method == "real" else name,
        "method": method,
        "arm": arm,
        "stage_one": "plain" if bridged or arm == "synthetic_only" else None,
        "shots": shots,
        "seed": seed,
        "learning_rate": None if arm == "synthetic_only" else 0.03,
        "selection": {} if arm == "synthetic_only" else {"0.1": 0.7, "0.03": 0.8, "0.01": 0.6},
        "num_train": NUM_CLASSES * (85 if shots == "full" else shots),
        "gradient_steps": 300 if arm in ("vanilla", "vanilla_fc_reinit") else 1200,
        "top1": round(float(correct.mean()), 4),
        "mean_per_class": round(float(np.mean(by_class)), 4),
        "curve": {
            "train_accuracy": (curve + 0.01 * rng.standard_normal(30)).clip(0, 1).tolist(),
            "train_loss": np.exp(-epochs / 8).tolist(),
        },
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{shots}-s{seed}"
    path.with_suffix(".json").write_text(json.dumps(record))
    np.savez(path.with_suffix(".npz"), probabilities=probabilities, labels=labels)


FIXED, OWN_HEAD = "fixed_feature_accuracy", "fixed_feature_own_head_accuracy"


def simulate_probe(path: Path, *, dataset: str = "digits") -> None:
    """Write LEEP and fixed-feature rows."""
    own = {"dataset": dataset, "set": None, "method": None, "model": "upstream"}
    rows = [
        {**own, "seed": None, "measure": "leep", "value": -1.9},
        *({**own, "seed": seed, "measure": FIXED, "value": 0.8} for seed in range(3)),
        *({**own, "seed": seed, "measure": "leep_random_head", "value": -2.3 + 0.01 * seed}
          for seed in range(3)),
    ]  # fmt: skip
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
    mean = {"fid": 12.3456, "kid": 0.1234, "precision": 0.5, "recall": 0.25, "density": 1.1,
            "coverage": 0.4}  # fmt: skip
    zero = {"class": "zero", "num_real": 8, "num_images": 6, "precision": 1.0}
    needs = {"fid": 50, "kid": 10, "neighbours": 6}
    gap = {**mean, "num_real": 80, "num_images": 60, "needs": needs, "by_class": [zero]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gap.json").write_text(
        json.dumps({"subsets": {"all": gap}, "mean": mean, "clip": "a/clip", "kept_fraction": 0.3})
    )
    real_train = {"num_images": 80, "num_near_duplicates": 2, "share": 0.025}
    leakage = {"threshold": threshold, "num_images": 60, "num_near_duplicates": 3, "share": 0.05,
               "real_train": real_train, "pairs": []}  # fmt: skip
    (folder / "leakage.json").write_text(json.dumps(leakage))
    (folder / "pairs.png").write_bytes(encode_png(np.zeros((2, 4, 3), np.uint8)))
