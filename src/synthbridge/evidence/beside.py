"""Accuracies beside that on the test images: on an extra test set, or on classes by frequency."""

from typing import Any

import pandas as pd

from synthbridge.evidence.comparisons import shots_words, spread_words

DASH = "\N{EN DASH}"  # nothing was measured

# Columns of the table of accuracies, and their headings on the page.
BESIDE = {
    "extra_top1": "extra test set, top-1",
    "extra_mean_per_class": "extra test set, mean per class",
    "accuracy_many": "frequent classes",
    "accuracy_medium": "middling classes",
    "accuracy_few": "rare classes",
}


def beside_columns(accuracy: pd.DataFrame) -> list[str]:
    """List the columns of BESIDE that a table has."""
    return [name for name in BESIDE if name in accuracy]


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
