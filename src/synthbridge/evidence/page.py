"""The page: everything known of a data set in one file that needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from synthbridge.evidence.comparisons import (
    DASH,
    Comparison,
    images_words,
    interval_words,
    p_words,
    shots_words,
    spread_words,
)
from synthbridge.evidence.examined import Examined, examined_section
from synthbridge.evidence.figures import inline_png, inline_svg
from synthbridge.evidence.marks import FIGURES, WARNING, is_selected_on_test, mark_figure
from synthbridge.evidence.plots import (
    plot_accuracy,
    plot_convergence,
    plot_differences,
    plot_grid,
    plot_primary_arm,
    plot_style_loss,
)
from synthbridge.evidence.results import (
    CONTROL,
    REAL,
    REFERENCE,
    SYNTHETIC_ONLY,
    ZERO_SHOT,
    TestedModel,
    is_clip,
)
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.tables import BESIDE, beside_columns, groups_of, shots_of
from synthbridge.evidence.transferability import transferability_notes, transferability_rows
from synthbridge.evidence.verdict import primary_verdict, underfit_sentences, verdict_sentence

TITLES = {
    "accuracy": "Test accuracy against real training images per class",
    "differences": "Paired differences to vanilla with their intervals",
    "primary_arm": "Paired differences of the primary arm with their intervals",
    "convergence": "Training accuracy per epoch of the last leg",
    "style_loss": "Loss of the style tokens",
    "grid": "Pictures of every set",
}


# Digits after the point of each measure of probe, in the order of the table's columns.
PROBE_DIGITS = {
    "leep": 2,
    "leep_random_head": 2,
    "logme": 3,
    "fixed_feature_accuracy": 1,
    "fixed_feature_own_head_accuracy": 1,
}

MEASURE_NAMES = {"top1": "top-1 accuracy", "mean_per_class": "mean per class accuracy"}


@dataclass(frozen=True)
class Evidence:
    """What is known of one data set; a table or mapping is empty where nothing was given."""

    dataset: str
    runs: list[TestedModel]
    comparisons: list[Comparison]
    accuracy: pd.DataFrame
    convergence: pd.DataFrame
    losses: pd.DataFrame
    probes: pd.DataFrame
    transferability: pd.DataFrame
    examined: list[Examined]
    pictures: dict[str, np.ndarray]  # "real" or a set -> (rows, pictures, H, W, 3) uint8
    class_names: list[str]  # of the rows of pictures
    provenance: dict[str, dict[str, str]]  # set -> what the records of all its images say
    retrieved: dict[str, str]  # method of a retrieved set -> what it lacks, or ""
    num_held_out: int | None  # labelled images that selected the learning rate; None: not known
    group_note: str | None  # what a reader must know of the groups of test images

    def methods(self) -> list[str]:
        """List the methods of all sets, generated and retrieved."""
        return [method for method in self.accuracy["method"].unique() if method != REAL]


def draw_figures(evidence: Evidence, settings: ReportSettings) -> dict[str, Figure]:
    """Draw what the evidence of one data set allows, keyed by the names in TITLES."""
    primary, rows = settings.primary, evidence.comparisons
    beside_vanilla = [row for row in rows if row.reference == REFERENCE]
    of_primary_arm = [
        row for row in rows if primary and row.arm == primary.arm and row.method != REAL
    ]
    figures = {
        "accuracy": plot_accuracy(
            evidence.accuracy,
            measure=settings.measure,
            primary=primary,
            retrieved=evidence.retrieved,
        )
    }
    if beside_vanilla:
        figures["differences"] = plot_differences(beside_vanilla, confidence=settings.confidence)
    if of_primary_arm:
        figures["primary_arm"] = plot_primary_arm(
            of_primary_arm, arm=of_primary_arm[0].arm, confidence=settings.confidence
        )
    if len(evidence.convergence):
        figures["convergence"] = plot_convergence(evidence.convergence)
    if len(evidence.losses):
        figures["style_loss"] = plot_style_loss(evidence.losses)
    if evidence.pictures:
        figures["grid"] = plot_grid(evidence.pictures, evidence.class_names)
    if is_selected_on_test(evidence.runs):
        for name in figures.keys() & set(FIGURES):
            mark_figure(figures[name])
    return figures


def render_page(evidence: Evidence, figures: dict[str, Figure], settings: ReportSettings) -> str:
    """Return the whole page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        **_values(evidence, settings),
        figures={
            name: _embedded(name, figure, evidence.dataset) for name, figure in figures.items()
        },
        settings=settings,
    )


def _values(evidence: Evidence, settings: ReportSettings) -> dict[str, Any]:
    """Return the values that the template names, numbers as words."""
    first = evidence.runs[0]
    seeds = sorted({run.seed for run in evidence.runs if run.arm != ZERO_SHOT})
    accuracy = accuracy_rows(evidence.accuracy, settings.measure)
    return {
        "dataset": evidence.dataset,
        "is_marked": is_selected_on_test(evidence.runs),
        "warning": WARNING.capitalize(),
        "smallest_gain": f"{settings.smallest_gain:g} point{'s' * (settings.smallest_gain != 1)}",
        "primary_shots": settings.primary and shots_words(settings.primary.shots),
        "percent": f"{100 * settings.confidence:g} %",
        "measure": MEASURE_NAMES[settings.measure],
        "num_runs": len(evidence.runs),
        "num_exploratory": sum(not row.is_primary for row in evidence.comparisons),
        "num_groups": None if first.groups is None else len(np.unique(first.groups)),
        "group_note": evidence.group_note,
        "selected_on": next((run.selected_on for run in evidence.runs if not is_clip(run.arm)), ""),
        "num_held_out": evidence.num_held_out,
        "num_test": len(first.labels),
        "num_classes": len(np.unique(first.labels)),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "verdict": primary_verdict(evidence.comparisons, settings),
        "sentence": verdict_sentence(
            evidence.dataset, evidence.comparisons, settings, evidence.retrieved
        ),
        "underfits": underfit_sentences(evidence.comparisons),
        "has_sets": bool(evidence.methods()),
        "lacks": [
            f"{images_words(method, evidence.retrieved).capitalize()}: {lacks}"
            for method, lacks in evidence.retrieved.items()
            if lacks
        ],
        "shot_counts": [shots_words(shots) for shots in shots_of(evidence.accuracy)],
        "accuracy": [row for row in accuracy if not is_clip(row["arm"])],
        "clip": [row for row in accuracy if is_clip(row["arm"])],
        "beside": beside_table(evidence.accuracy),
        "comparisons": [comparison_row(row, settings) for row in evidence.comparisons],
        "controls": [
            comparison_row(row, settings) for row in evidence.comparisons if _is_control(row)
        ],
        "probes": probe_rows(evidence.probes),
        "transferability": transferability_rows(evidence.transferability),
        "transferability_notes": transferability_notes(evidence.transferability),
        "examined": examined_section(evidence.examined),
        "runs": run_rows(evidence.runs),
        "provenance": evidence.provenance,
        "has_retrieved": bool(evidence.retrieved),
    }


def _embedded(name: str, figure: Figure, dataset: str) -> Markup:
    title = f"{TITLES[name]}, {dataset}"
    if name == "grid":
        return Markup('<img class="white" alt="{}" src="{}">').format(title, inline_png(figure))
    return Markup(inline_svg(figure, f"{dataset}-{name}", str(Markup.escape(title))))


def _is_control(row: Comparison) -> bool:
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
