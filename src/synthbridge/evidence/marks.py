"""Marks on what was made with a learning rate selected on test images (`real_leg.select_on: test`).

That is the paper's own way. It flatters every arm, and nobody should meet such a number without
being told; a number selected on held-out training images bears no mark.
"""

import pandas as pd
from matplotlib.figure import Figure

from synthbridge.evidence.results import TestedModel, is_clip

WARNING = "learning rate selected on test images"
SUFFIX = "_selected_on_test"  # of the names in summary.json that hold marked numbers
COLUMN = (
    "learning_rate_selected_on"  # of marked tables: test; validation (other data sets); none (CLIP)
)

# The tables that depend on the selected rate. LEEP, fixed features and style tokens do not.
TABLES = ("results", "accuracy", "convergence", "differences", "forecasts")
FIGURES = ("accuracy", "convergence", "differences")


def marked_datasets(runs: list[TestedModel]) -> set[str]:
    """List the data sets whose runs have learning rates selected on test images."""
    return {run.dataset for run in runs if run.selected_on == "test"}


def mark_table(table: pd.DataFrame, marked: set[str]) -> pd.DataFrame:
    """Say in every row what selected its learning rate; without a marked data set, say nothing.

    Args:
        table: one of TABLES, with a column `dataset`; a column `series` gets the words too.
        marked: the data sets to mark.
    """
    if not marked:
        return table
    on_clip = table["arm"].map(is_clip).astype(bool)  # with a stated rate: none was selected
    is_marked = table["dataset"].isin(marked) & ~on_clip
    table = table.rename(columns={"held_out_accuracy": "selection_accuracy"})
    if "series" in table:
        words = is_marked.map({True: f" ({WARNING})", False: ""})
        table = table.assign(series=table["series"] + words)
    selected_on = is_marked.map({True: "test", False: "validation"}).mask(on_clip, "none")
    return table.assign(**{COLUMN: selected_on})


def mark_figure(figure: Figure) -> None:
    """Write the warning over a figure."""
    figure.suptitle(WARNING.capitalize(), fontsize="medium", fontweight="bold")
