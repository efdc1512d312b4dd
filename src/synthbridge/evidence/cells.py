"""Cells: rows of the page's tables, numbers as words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from synthbridge.evidence.comparisons import (
    DASH,
    Comparison,
    interval_words,
    p_words,
    shots_words,
    spread_words,
)
from synthbridge.evidence.results import (
    CONTROL,
    REAL,
    REFERENCE,
    SYNTHETIC_ONLY,
    TestedModel,
)
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.tables import BESIDE, beside_columns, groups_of, shots_of

# Digits after the point of each measure of probe, in the order of the table's columns.
PROBE_DIGITS = {
    "leep": 2,
    "leep_random_head": 2,
    "logme": 3,
    "fixed_feature_accuracy": 1,
    "fixed_feature_own_head_accuracy": 1,
}

MOST_ROWS = 150  # of a table on the page; a file beside it has all


def cut(rows: Sequence[Any]) -> dict[str, Any]:
    """Return the rows that the page shows, and how many more there are."""
    return {"rows": list(rows[:MOST_ROWS]), "more": max(0, len(rows) - MOST_ROWS)}


def is_control(row: Comparison) -> bool:
    """Say whether a comparison asks if the gain has another cause than the images."""
    if row.reference == CONTROL or row.method == REAL:
        return True
    is_variant = row.arm == SYNTHETIC_ONLY or row.arm.endswith("fc_reinit")
    return row.reference == REFERENCE and is_variant


def comparison_row(row: Comparison, settings: ReportSettings) -> dict[str, Any]:
    """Return a comparison as words."""
    return {
        "arm": row.arm,
        "method": row.method,
        "reference": row.against,
        "shots": shots_words(row.shots),
        "accuracies": f"{row.arm_accuracy:.1f} / {row.reference_accuracy:.1f}",
        "steps": f"{row.arm_steps:,.0f} / {row.reference_steps:,.0f}",
        "difference": interval_words(row.interval),
        "p_value": p_words(row.interval.p_value),
        "p_holm": "primary" if row.is_primary else p_words(row.p_holm),
        "seeds": str(row.interval.num_seeds),
        "is_sure": row.is_sure(settings.confidence),
    }


def accuracy_rows(accuracy: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Return a row a method and arm, with a cell a shot count."""
    rows = []
    for (method, arm), group in groups_of(accuracy, ["method", "arm"]):
        by_shots = {row["shots"]: row for row in group.to_dict("records")}
        cells = []
        for shots in shots_of(accuracy):
            row = by_shots.get(shots)
            spread = row[f"{measure}_spread"] if row else None
            cells.append(spread_words(row[measure], spread, 1) if row else DASH)
        rows.append({"method": method, "arm": arm, "cells": cells})
    return rows


def beside_table(accuracy: pd.DataFrame) -> dict[str, Any]:
    """Return the accuracies beside that on the test images: headings, and a row a cell."""
    names = beside_columns(accuracy)
    measured = accuracy.dropna(subset=names, how="all") if names else accuracy.head(0)
    rows = [
        {
            **{name: row[name] for name in ("method", "arm")},
            "shots": shots_words(row["shots"]),
            "cells": [
                DASH if pd.isna(row[name]) else spread_words(row[name], row[f"{name}_spread"], 1)
                for name in names
            ],
        }
        for row in measured.to_dict("records")
    ]
    return {"names": [BESIDE[name] for name in names], "rows": rows}


def probe_rows(probes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a model, with its measures side by side."""
    rows = []
    for (set_name, model), group in groups_of(probes, ["set", "model"]):
        by_measure = {row["measure"]: row for row in group.to_dict("records")}
        cells = []
        for measure, digits in PROBE_DIGITS.items():
            row = by_measure.get(measure)
            cells.append(spread_words(row["mean"], row["spread"], digits) if row else DASH)
        of = DASH if pd.isna(set_name) else set_name
        rows.append({"set": of, "model": model, "cells": cells})
    return rows


def run_rows(runs: list[TestedModel]) -> list[dict[str, Any]]:
    """Return a row a cell: what was trained, for how long, and which rates were chosen."""
    cells: dict[tuple[Any, ...], list[TestedModel]] = {}
    for run in runs:
        cells.setdefault((run.method, run.arm, run.shots), []).append(run)
    return [
        {
            "method": method,
            "arm": arm,
            "shots": shots_words(shots),
            "num_train": f"{np.mean([run.num_train for run in group]):,.0f}",
            "steps": f"{np.mean([run.gradient_steps for run in group]):,.0f}",
            "rates": ", ".join(dict.fromkeys(_rate(run) for run in group)),
            # The best rate may lie beyond a grid whose end was chosen.
            "edge": any(
                len(run.selection) > 1
                and run.learning_rate in (min(run.selection), max(run.selection))
                for run in group
            ),
        }
        for (method, arm, shots), group in cells.items()
    ]


def _rate(run: TestedModel) -> str:
    return DASH if run.learning_rate is None else f"{run.learning_rate:g}"
