"""Small metrics of a stage's models, for git: an experiment carries its points without a cache.

A file is metrics/<dataset>/runs/<family>[/<set>].json, a list of rows. DVC keeps it as a metric, so
that the stage has a run cache, and shows none of a list: `dvc metrics show` and `dvc exp show` keep
to the headline figures of `report`. Accuracies are in percent.
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
        path: the file to write: rows of arm, shots, seed ("s0"), accuracies and gradient_steps.
        records: of `finetune`: arm, shots, seed, gradient_steps, selected_on (if it was test) and
            the ACCURACIES as fractions.
    """
    rows = []
    for record in records:
        mark = MARK if record.get("selected_on") == "test" else ""
        accuracies = {
            f"{name}{mark}": round(100 * record[name], DIGITS)
            for name in ACCURACIES
            if name in record
        }
        place = {"arm": record["arm"], "shots": str(record["shots"]), "seed": f"s{record['seed']}"}
        rows.append({**place, **accuracies, "gradient_steps": record["gradient_steps"]})
    write_json(path, rows)


def write_probe_metrics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows of `probe`: set, model, measure, seed, value.

    Args:
        path: the file to write.
        rows: the same, with accuracies as fractions. The set is None of what is no synthetic set's,
            and the seed of what has none, where the file says ONCE.
    """
    written = []
    for row in rows:
        scale = 100 if row["measure"].endswith("_accuracy") else 1
        seed = ONCE if row["seed"] is None else f"s{row['seed']}"
        place = {name: row[name] for name in ("set", "model", "measure")}
        written.append({**place, "seed": seed, "value": round(scale * row["value"], DIGITS)})
    write_json(path, written)
