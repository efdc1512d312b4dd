"""Tables: runs and comparisons as tidy frames, and the summary that `dvc metrics show` reads.

Accuracies are in percent, differences in points, spreads the sample standard deviation over seeds
(empty for a single seed).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthbridge.evidence.comparisons import Comparison
from synthbridge.evidence.results import REFERENCE, Run, arm_key, shots_key
from synthbridge.evidence.settings import ReportSettings
from synthbridge.files import whole_file

CELL = ["dataset", "source", "arm", "shots"]


def results_table(runs: list[Run]) -> pd.DataFrame:
    """Return one row a run."""
    return pd.DataFrame(
        {
            "dataset": run.dataset,
            "source": run.source,
            "set": run.set,
            "arm": run.arm,
            "shots": run.shots,
            "seed": run.seed,
            "top1": run.top1,
            "mean_per_class": run.mean_per_class,
            "learning_rate": run.learning_rate,
            "held_out_accuracy": run.selection.get(run.learning_rate or 0.0, np.nan),
            "num_train": run.num_train,
            "gradient_steps": run.gradient_steps,
            "num_test": len(run.labels),
        }
        for run in runs
    )


def accuracy_table(runs: list[Run]) -> pd.DataFrame:
    """Return mean and spread over seeds: a row a data set, source, arm and shot count."""
    rows = []
    # sort=False keeps the order of the runs, which is that of every table.
    for cell, group in results_table(runs).groupby(CELL, sort=False):
        rows.append(
            {
                **dict(zip(CELL, cell, strict=True)),
                "top1": group["top1"].mean(),
                "top1_spread": group["top1"].std(ddof=1),
                "mean_per_class": group["mean_per_class"].mean(),
                "mean_per_class_spread": group["mean_per_class"].std(ddof=1),
                "num_seeds": len(group),
                "num_train": group["num_train"].mean(),
                "gradient_steps": group["gradient_steps"].mean(),
            }
        )
    return pd.DataFrame(rows)


def differences_table(comparisons: list[Comparison]) -> pd.DataFrame:
    """Return one row a comparison."""
    columns = [
        *CELL, "reference", "difference", "low", "high", "num_seeds", "num_test",
        "gradient_steps", "reference_gradient_steps", "verdict",
    ]  # fmt: skip
    rows = [
        [
            row.dataset,
            row.source,
            row.arm,
            row.shots,
            row.reference,
            row.interval.difference,
            row.interval.low,
            row.interval.high,
            row.interval.num_seeds,
            row.interval.num_images,
            row.arm_steps,
            row.reference_steps,
            row.verdict,
        ]
        for row in comparisons
    ]
    return pd.DataFrame(rows, columns=columns)


def convergence_table(runs: list[Run], primary_arm: str) -> pd.DataFrame:
    """Return the training accuracy of the last leg per epoch, mean and spread over seeds.

    Only of vanilla, bridged and the primary arm: the comparison of Bridged, figure 3.
    """
    columns = [*CELL, "epoch", "train_accuracy", "spread"]
    rows = [
        [run.dataset, run.source, run.arm, run.shots, epoch, accuracy]
        for run in runs
        if run.arm in (REFERENCE, "bridged", primary_arm)
        for epoch, accuracy in enumerate(run.train_accuracy, start=1)
    ]
    points = pd.DataFrame(rows, columns=[*CELL, "epoch", "train_accuracy"])
    if not rows:
        return points.assign(spread=0.0)[columns]
    groups = points.groupby([*CELL, "epoch"], sort=False)["train_accuracy"]
    return groups.agg(train_accuracy="mean", spread="std").reset_index()[columns]


def smooth_losses(losses: pd.DataFrame) -> pd.DataFrame:
    """Add a column `smoothed`: an exponential mean over about a tenth of each curve."""
    smoothed = losses.groupby(["dataset", "set", "subset"], sort=False)["loss"].transform(
        lambda loss: loss.ewm(span=max(1.0, len(loss) / 10)).mean()
    )
    return losses.assign(smoothed=smoothed)


def probe_table(probes: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread over seeds of LEEP and fixed-feature accuracy."""
    cell = ["dataset", "set", "source", "model", "measure"]
    # dropna: the upstream model has no set; sort: keep the order in which probe measured.
    groups = probes.groupby(cell, sort=False, dropna=False)["value"]
    return groups.agg(mean="mean", spread="std", num_seeds="size").reset_index()


def summary(
    accuracy: pd.DataFrame,
    comparisons: list[Comparison],
    probes: pd.DataFrame,
    settings: ReportSettings,
) -> dict[str, Any]:
    """Return nested plain numbers: what one wants to see change between two experiments."""
    tree: dict[str, Any] = {}
    for row in accuracy.to_dict("records"):
        arms = _below(tree, row["dataset"], "accuracy", row["source"], row["arm"])
        arms[str(row["shots"])] = round(row[settings.measure], 2)
    for row in comparisons:
        if row.arm == settings.primary_arm:
            name = f"{row.arm}_minus_{row.reference}"
            points = _below(tree, row.dataset, "difference", row.source, name, str(row.shots))
            points["points"] = round(row.interval.difference, 2)
            points["low"] = round(row.interval.low, 2)
            points["high"] = round(row.interval.high, 2)
            points["num_seeds"] = row.interval.num_seeds
            if row.reference == REFERENCE:
                points["verdict"] = row.verdict
    for row in probes.to_dict("records"):
        name = row["model"] if pd.isna(row["set"]) else f"{row['model']}_{row['set']}"
        _below(tree, row["dataset"], row["measure"])[name] = round(row["mean"], 3)
    return tree


def _below(tree: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        tree = tree.setdefault(name, {})
    return tree


def arms_of(table: pd.DataFrame) -> list[str]:
    """List the arms of a table in the order in which they are shown."""
    return sorted(table["arm"].unique(), key=arm_key)


def shots_of(table: pd.DataFrame) -> list[Any]:
    """List the shot counts of a table, "full" last."""
    return sorted(table["shots"].unique(), key=shots_key)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six significant digits; the same table gives the same bytes."""
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
