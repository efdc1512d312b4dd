"""Tables: runs and comparisons as tidy frames, and the headline figures that DVC shows.

Accuracies are in percent, differences in points, spreads the sample standard deviation over seeds
(empty for a single seed).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthbridge.core.files import whole_file
from synthbridge.data.run_metrics import MARK
from synthbridge.evidence.comparisons import Comparison
from synthbridge.evidence.results import (
    BRIDGED,
    CONTROL,
    REAL,
    REFERENCE,
    ZERO_SHOT,
    Shots,
    TestedModel,
    arm_key,
    is_clip,
    shots_key,
)
from synthbridge.evidence.settings import PrimaryComparison, ReportSettings
from synthbridge.evidence.statistics import Interval
from synthbridge.evidence.verdict import primary_rows, primary_verdict

CELL = ["dataset", "method", "arm", "shots"]

# Accuracies beside that on the test images: on an extra test set, or on classes by frequency. They
# are columns of the table of accuracies where they were measured; here with their headings.
BESIDE = {
    "extra_top1": "extra test set, top-1",
    "extra_mean_per_class": "extra test set, mean per class",
    "accuracy_many": "frequent classes",
    "accuracy_medium": "middling classes",
    "accuracy_few": "rare classes",
}


def rows_with(table: pd.DataFrame, column: str, values: list[Any]) -> pd.DataFrame:
    """Return the rows whose `column` is one of `values`, numbered anew."""
    rows: Any = table[table[column].isin(values)]
    return rows.reset_index(drop=True)


def groups_of(
    table: pd.DataFrame, columns: list[str]
) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield the values of `columns` and the rows that hold them, in order of appearance."""
    groups: Any = table.groupby(columns, sort=False, dropna=False)
    yield from groups


def results_table(runs: list[TestedModel]) -> pd.DataFrame:
    """Return one row a run."""
    return pd.DataFrame(
        {
            "dataset": run.dataset,
            "method": run.method,
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
            "model": "CLIP" if is_clip(run.arm) else "backbone",
            **run.beside,
        }
        for run in runs
    )


def accuracy_table(runs: list[TestedModel]) -> pd.DataFrame:
    """Return mean and spread over seeds: a row a data set, method, arm and shot count.

    Zero-shot CLIP, which has neither shots nor seeds, stands at every shot count.
    """
    rows = []
    beside = list(dict.fromkeys(name for run in runs for name in run.beside))
    for cell, group in groups_of(results_table(_at_all_shots(runs)), CELL):
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
                "model": group["model"].iloc[0],
                **{name: group[name].mean() for name in beside},
                **{f"{name}_spread": group[name].std(ddof=1) for name in beside},
            }
        )
    return pd.DataFrame(rows)


def _at_all_shots(runs: list[TestedModel]) -> list[TestedModel]:
    """Repeat zero-shot CLIP at every shot count that its data set has otherwise."""
    found: dict[str, set[Shots]] = {}
    for run in runs:
        if run.arm != ZERO_SHOT:
            found.setdefault(run.dataset, set()).add(run.shots)
    return [
        replace(run, shots=shots)
        for run in runs
        for shots in (
            sorted(found.get(run.dataset, {run.shots}), key=shots_key)
            if run.arm == ZERO_SHOT
            else [run.shots]
        )
    ]


def beside_columns(accuracy: pd.DataFrame) -> list[str]:
    """List the columns of BESIDE that a table has."""
    return [name for name in BESIDE if name in accuracy]


def differences_table(comparisons: list[Comparison]) -> pd.DataFrame:
    """Return one row a comparison; interval and p-values are empty for fewer than three seeds."""
    columns: dict[str, Callable[[Comparison], Any]] = {
        "dataset": lambda row: row.dataset,
        "method": lambda row: row.method,
        "arm": lambda row: row.arm,
        "shots": lambda row: row.shots,
        "reference": lambda row: row.reference,
        "reference_method": lambda row: row.reference_method,
        "difference": lambda row: row.interval.difference,
        "low": lambda row: row.interval.low,
        "high": lambda row: row.interval.high,
        "p_value": lambda row: row.interval.p_value,
        "p_holm": lambda row: row.p_holm,
        "num_seeds": lambda row: row.interval.num_seeds,
        "num_test": lambda row: row.interval.num_images,
        "num_groups": lambda row: row.interval.num_groups,
        "gradient_steps": lambda row: row.arm_steps,
        "reference_gradient_steps": lambda row: row.reference_steps,
        "role": lambda row: "primary" if row.is_primary else "exploratory",
    }
    rows = [[value(row) for value in columns.values()] for row in comparisons]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def convergence_table(runs: list[TestedModel], primary: PrimaryComparison | None) -> pd.DataFrame:
    """Return the training accuracy of the last leg per epoch, mean and spread over seeds.

    Only of vanilla, its control, bridged and the primary arm: the comparison of Bridged, figure 3.
    """
    columns = [*CELL, "epoch", "train_accuracy", "spread"]
    shown = {REFERENCE, CONTROL, BRIDGED, primary.arm if primary else BRIDGED}
    points = pd.DataFrame(
        [
            [run.dataset, run.method, run.arm, run.shots, epoch, accuracy]
            for run in runs
            if run.arm in shown
            for epoch, accuracy in enumerate(run.train_accuracy, start=1)
        ],
        columns=pd.Index(columns[:-1]),
    )
    rows = [
        [*cell, group["train_accuracy"].mean(), group["train_accuracy"].std(ddof=1)]
        for cell, group in groups_of(points, columns[:-2])
    ]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def smooth_losses(losses: pd.DataFrame) -> pd.DataFrame:
    """Add a column `smoothed`: an exponential mean over about a tenth of each curve."""
    smoothed = losses.groupby(["dataset", "set", "subset"], sort=False)["loss"].transform(
        # Step 0 has no loss yet; it takes that of the first step.
        lambda loss: loss.ewm(span=max(1.0, len(loss) / 10)).mean().bfill()
    )
    return losses.assign(smoothed=smoothed)


def probe_table(probes: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread over seeds of LEEP and fixed-feature accuracy."""
    cell = ["dataset", "set", "method", "model", "measure"]
    rows = [
        [*values, group["value"].mean(), group["value"].std(ddof=1), len(group)]
        for values, group in groups_of(probes, cell)
    ]
    return pd.DataFrame(rows, columns=pd.Index([*cell, "mean", "spread", "num_seeds"]))


def summary(
    accuracy: pd.DataFrame,
    comparisons: Sequence[Comparison],
    settings: ReportSettings,
    *,
    marked: bool = False,
) -> dict[str, Any]:
    """Return the headline figures by data set: a dozen, which people read side by side.

    Of the primary comparison: its verdict, the accuracy of arm, reference and control, and both
    gains. Where there is none, the accuracy of each arm on real images alone.

    Marked numbers stand under names of their own, so that no comparison of two experiments sets
    them beside others.
    """
    tree: dict[str, Any] = {}
    suffix, primary = MARK if marked else "", settings.primary
    rows = [row for row in primary_rows(comparisons, primary) if row] if primary else []
    for row in rows:
        accuracies = _below(tree, row.dataset, f"accuracy{suffix}")
        accuracies[row.arm] = round(row.arm_accuracy, 2)
        accuracies[row.reference] = round(row.reference_accuracy, 2)
        gains = _below(tree, row.dataset, f"gain{suffix}")
        gains[f"over_{row.reference}"] = _interval(row.interval)
    if primary and comparisons:
        own = tree.setdefault(comparisons[0].dataset, {})
        own[f"verdict{suffix}"] = primary_verdict(comparisons, settings)
    alone = [] if rows else rows_with(accuracy, "method", [REAL]).to_dict("records")
    for row in alone:
        mark = "" if is_clip(row["arm"]) else suffix
        arms = _below(tree, row["dataset"], f"accuracy{mark}", row["arm"])
        arms[str(row["shots"])] = round(row[settings.measure], 2)
    return tree


def _interval(interval: Interval) -> dict[str, float]:
    """Return what the summary has of a difference."""
    numbers = {"points": round(interval.difference, 2)}
    if interval.is_known:
        numbers |= {"low": round(interval.low, 2), "high": round(interval.high, 2)}
    return numbers


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


def with_series(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Add a column `series`, the values of `columns` in one: what DVC's plots colour by."""
    series = ["".join(f"{value} " for value in row).strip() for row in table[columns].to_numpy()]
    return table.assign(series=series)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six significant digits; the same table gives the same bytes."""
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
