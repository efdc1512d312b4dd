"""Small metrics of a stage's models, for git: an experiment carries its points without a cache.

A file is metrics/<dataset>/runs/<family>[/<set>].json: {arm: {shots: {"s<seed>": {...}}}}.
Accuracies are in percent, as people read them in `dvc exp show`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synthbridge.core.files import write_json

# Those on an extra test set stand in the record where there is one.
ACCURACIES = ("top1", "mean_per_class", "extra_top1", "extra_mean_per_class")
MARK = "_selected_on_test"  # of accuracies whose learning rate was selected on test images
ONCE = "once"  # in a seed's place, of a reading that no seed changes: of the pretrained model, say
DIGITS = 4


def write_run_metrics(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write what the records of final models say of their accuracy and their gradient steps.

    Args:
        path: the file to write.
        records: of `finetune`: arm, shots, seed, gradient_steps, selected_on (if it was test) and
            the ACCURACIES as fractions.
    """
    arms: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for record in records:
        mark = MARK if record.get("selected_on") == "test" else ""
        accuracies = {
            f"{name}{mark}": round(100 * record[name], DIGITS)
            for name in ACCURACIES
            if name in record
        }
        seeds = arms.setdefault(record["arm"], {}).setdefault(str(record["shots"]), {})
        seeds[f"s{record['seed']}"] = {**accuracies, "gradient_steps": record["gradient_steps"]}
    write_json(path, arms)


def write_probe_metrics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows of `probe` as {set: {model: {measure: {"s<seed>": value}}}}.

    Args:
        path: the file to write.
        rows: with set, model, measure, seed and value. What is no synthetic set's stands below
            `backbone`, what has no seed below ONCE. Accuracies are fractions.
    """
    sets: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for row in rows:
        scale = 100 if row["measure"].endswith("_accuracy") else 1
        measures = sets.setdefault(row["set"] or "backbone", {}).setdefault(row["model"], {})
        seed = ONCE if row["seed"] is None else f"s{row['seed']}"
        measures.setdefault(row["measure"], {})[seed] = round(scale * row["value"], DIGITS)
    write_json(path, sets)
