"""The rows of the page's tables: numbers as words."""

from typing import Any

import numpy as np
import pandas as pd

from synthbridge.evidence.beside import DASH
from synthbridge.evidence.comparisons import (
    Comparison,
    interval_words,
    shots_words,
    spread_words,
)
from synthbridge.evidence.results import TestedModel
from synthbridge.evidence.tables import groups_of, shots_of


def comparison_row(row: Comparison) -> dict[str, str]:
    """Return a comparison as words."""
    return {
        "arm": row.arm,
        "method": row.method,
        "reference": row.reference,
        "shots": shots_words(row.shots),
        "accuracies": f"{row.arm_accuracy:.1f} / {row.reference_accuracy:.1f}",
        "steps": f"{row.arm_steps:,.0f} / {row.reference_steps:,.0f}",
        "difference": interval_words(row.interval),
        "verdict": row.verdict,
        "seeds": str(row.interval.num_seeds),
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


def probe_rows(probes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a model, with its measures side by side."""
    digits = {"leep": 2, "leep_random_head": 2, "logme": 3,
              "fixed_feature_accuracy": 1, "fixed_feature_own_head_accuracy": 1}  # fmt: skip
    rows = []
    for (set_name, model), group in groups_of(probes, ["set", "model"]):
        by_measure = {row["measure"]: row for row in group.to_dict("records")}
        cells = []
        for measure, places in digits.items():
            row = by_measure.get(measure)
            cells.append(spread_words(row["mean"], row["spread"], places) if row else DASH)
        rows.append({"set": DASH if pd.isna(set_name) else set_name, "model": model,
                     "cells": cells})  # fmt: skip
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
            "rates": ", ".join(
                DASH if run.learning_rate is None else f"{run.learning_rate:g}" for run in group
            ),
            # The best rate may lie beyond a grid whose end was chosen.
            "edge": any(
                len(run.selection) > 1
                and run.learning_rate in (min(run.selection), max(run.selection))
                for run in group
            ),
        }
        for (method, arm, shots), group in cells.items()
    ]
