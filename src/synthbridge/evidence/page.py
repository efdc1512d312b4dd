"""The page: everything known of every data set in one file that needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from synthbridge.evidence.beside import beside_table
from synthbridge.evidence.comparisons import (
    Comparison,
    images_words,
    shots_words,
    verdict_sentence,
)
from synthbridge.evidence.examined import Examined, examined_section
from synthbridge.evidence.figures import inline_png, inline_svg
from synthbridge.evidence.forecasts import forecast_notes, forecast_rows
from synthbridge.evidence.marks import FIGURES, WARNING, mark_figure, marked_datasets
from synthbridge.evidence.page_rows import accuracy_rows, comparison_row, probe_rows, run_rows
from synthbridge.evidence.plots import (
    plot_accuracy,
    plot_convergence,
    plot_differences,
    plot_grid,
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
from synthbridge.evidence.tables import shots_of

TITLES = {
    "accuracy": "Test accuracy against real training images per class",
    "differences": "Paired differences to vanilla with their intervals",
    "convergence": "Training accuracy per epoch of the last leg",
    "style_loss": "Loss of the style tokens",
    "grid": "Pictures of every method",
}


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
    forecasts: pd.DataFrame
    examined: list[Examined]
    pictures: dict[str, np.ndarray]  # method -> (rows, pictures, H, W, 3) uint8
    class_names: list[str]  # of the rows of pictures
    provenance: dict[str, dict[str, str]]  # set -> what all its images share
    retrieved: dict[str, str]  # retrieved method -> what it lacks, or ""

    def methods(self) -> list[str]:
        """List the methods of the sets, synthetic and retrieved."""
        return [method for method in self.accuracy["method"].unique() if method != REAL]


def draw_figures(evidence: Evidence, settings: ReportSettings) -> dict[str, Figure]:
    """Draw what the evidence of one data set allows, keyed by the names in TITLES."""
    arm = settings.primary_arm
    beside_vanilla = [row for row in evidence.comparisons if row.reference == REFERENCE]
    figures = {
        "accuracy": plot_accuracy(
            evidence.accuracy,
            measure=settings.measure,
            primary_arm=arm,
            retrieved=evidence.retrieved,
        )
    }
    if beside_vanilla:
        figures["differences"] = plot_differences(beside_vanilla, primary_arm=arm)
    if len(evidence.convergence):
        figures["convergence"] = plot_convergence(evidence.convergence)
    if len(evidence.losses):
        figures["style_loss"] = plot_style_loss(evidence.losses)
    if evidence.pictures:
        figures["grid"] = plot_grid(evidence.pictures, evidence.class_names)
    if marked_datasets(evidence.runs):
        for name in figures.keys() & set(FIGURES):
            mark_figure(figures[name])
    return figures


def render_page(
    parts: list[tuple[Evidence, dict[str, Figure]]], settings: ReportSettings
) -> str:  # fmt: skip
    """Return the whole page as HTML; `parts` holds each data set's evidence and figures."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        sections=[_section(evidence, figures, settings) for evidence, figures in parts],
        warning=WARNING.capitalize(),
        settings=settings,
        percent=f"{100 * settings.confidence:g} %",
        measure={"top1": "top-1 accuracy", "mean_per_class": "mean per class accuracy"}[
            settings.measure
        ],
        num_runs=sum(len(evidence.runs) for evidence, _ in parts),
        num_primary=sum(
            _is_primary(row, settings) for evidence, _ in parts for row in evidence.comparisons
        ),
        num_comparisons=sum(len(evidence.comparisons) for evidence, _ in parts),
    )


def _is_primary(row: Comparison, settings: ReportSettings) -> bool:
    return row.arm == settings.primary_arm and row.reference == REFERENCE


def _section(
    evidence: Evidence, figures: dict[str, Figure], settings: ReportSettings
) -> dict[str, Any]:
    """Return what the template needs of one data set, all numbers as text."""
    first = evidence.runs[0]
    seeds = sorted({run.seed for run in evidence.runs if run.arm != ZERO_SHOT})
    accuracy = accuracy_rows(evidence.accuracy, settings.measure)
    return {
        "dataset": evidence.dataset,
        "is_marked": bool(marked_datasets(evidence.runs)),
        "num_test": len(first.labels),
        "num_classes": len(np.unique(first.labels)),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "one_seed": len(seeds) == 1,
        "verdicts": [_verdict(evidence, method, settings) for method in evidence.methods()],
        "shots": [shots_words(shots) for shots in shots_of(evidence.accuracy)],
        "accuracy": [row for row in accuracy if not is_clip(row["arm"])],
        "clip": [row for row in accuracy if is_clip(row["arm"])],
        "beside": beside_table(evidence.accuracy),
        "comparisons": [comparison_row(row) for row in evidence.comparisons],
        "controls": [
            comparison_row(row) for row in evidence.comparisons if _is_control(row, settings)
        ],
        "probes": probe_rows(evidence.probes),
        "forecasts": forecast_rows(evidence.forecasts),
        "forecast_notes": forecast_notes(evidence.forecasts),
        "examined": examined_section(evidence.examined),
        "runs": run_rows(evidence.runs),
        "provenance": evidence.provenance,
        "has_retrieved": bool(evidence.retrieved),
        "figures": {
            name: _embedded(name, figure, evidence.dataset) for name, figure in figures.items()
        },
    }


def _embedded(name: str, figure: Figure, dataset: str) -> Markup:
    title = f"{TITLES[name]}, {dataset}"
    if name == "grid":
        return Markup('<img class="white" alt="{}" src="{}">').format(title, inline_png(figure))
    return Markup(inline_svg(figure, f"{dataset}-{name}", str(Markup.escape(title))))


def _verdict(evidence: Evidence, method: str, settings: ReportSettings) -> dict[str, Any]:
    rows = [row for row in evidence.comparisons if row.method == method]
    primary = [row for row in rows if _is_primary(row, settings)]
    return {
        "images": images_words(method, evidence.retrieved),
        "sentence": verdict_sentence(evidence.dataset, method, rows, settings, evidence.retrieved),
        "lacks": evidence.retrieved.get(method, ""),
        "answers": [(shots_words(row.shots), row.verdict) for row in primary],
    }


def _is_control(row: Comparison, settings: ReportSettings) -> bool:
    if row.reference == CONTROL or row.method == REAL:
        return True
    return row.arm == SYNTHETIC_ONLY or (
        row.arm.startswith(settings.primary_arm) and row.arm.endswith("reinit")
    )
