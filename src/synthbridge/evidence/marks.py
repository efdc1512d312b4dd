"""Marks on what was made with a learning rate selected on test images (`real_leg.select_on: test`).

The paper selects so. It makes every arm look better than it is, so each number made so is marked.
Numbers whose rate was selected on held-out training images bear no mark.
"""

from collections.abc import Iterable

import pandas as pd

from synthbridge.evidence.results import TestedModel, is_clip

WARNING = "learning rate selected on test images"
COLUMN = "learning_rate_selected_on"  # of marked tables: "test", or "none" for arms on CLIP

# The tables that depend on the selected rate. LEEP, fixed features and style tokens do not.
TABLES = ("results", "accuracy", "convergence", "differences", "classes", "transferability")
FIGURES = ("accuracy", "convergence", "differences", "primary_arm")


def is_selected_on_test(runs: Iterable[TestedModel]) -> bool:
    """Say whether runs have learning rates selected on test images."""
    return any(run.selected_on == "test" for run in runs)


def mark_table(table: pd.DataFrame) -> pd.DataFrame:
    """Say in every row of one of TABLES what selected its learning rate.

    A column `series` gets the words too.
    """
    on_clip = table["arm"].map(is_clip).astype(bool)  # with a stated rate: none was selected
    table = table.rename(columns={"held_out_accuracy": "selection_accuracy"})
    if "series" in table:
        words = on_clip.map({True: "", False: f" ({WARNING})"})
        table = table.assign(series=table["series"] + words)
    return table.assign(**{COLUMN: on_clip.map({True: "none", False: "test"})})
