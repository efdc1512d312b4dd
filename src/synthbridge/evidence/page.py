"""The page: everything known of a data set in one file that needs no network.

Its top is for whoever decides (decision.py); the evidence below is folded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from synthbridge.evidence.cells import (
    accuracy_rows,
    beside_table,
    comparison_row,
    cut,
    is_control,
    probe_rows,
    run_rows,
)
from synthbridge.evidence.classes import ClassChange, Pairs
from synthbridge.evidence.comparisons import Comparison, images_words, shots_words
from synthbridge.evidence.costs import cost_rows, set_costs, work_sentences
from synthbridge.evidence.decision import (
    Known,
    answer,
    changed_classes,
    label_rows,
    next_steps,
    side_by_side,
)
from synthbridge.evidence.examined import Examined, examined_section
from synthbridge.evidence.figures import inline_svg
from synthbridge.evidence.marks import WARNING, is_selected_on_test
from synthbridge.evidence.pictures import Pictures, data_uri, strip
from synthbridge.evidence.plots import (
    Panel,
    Plot,
    accuracy_plot,
    convergence_plot,
    differences_plot,
    draw_panel,
    family_of,
    primary_arm_plot,
    style_loss_plot,
)
from synthbridge.evidence.results import (
    REAL,
    REFERENCE,
    ZERO_SHOT,
    TestedModel,
    is_clip,
)
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.tables import shots_of
from synthbridge.evidence.transferability import transferability_notes, transferability_rows
from synthbridge.evidence.verdict import primary_rows, underfit_sentences, verdict_sentence

TITLES = {
    "accuracy": "Test accuracy against real training images per class",
    "differences": "Paired differences to vanilla with their intervals",
    "primary_arm": "Paired differences of the primary arm with their intervals",
    "convergence": "Training accuracy per epoch of the last leg",
    "style_loss": "Loss of the style tokens",
}
MEASURE_NAMES = {"top1": "top-1 accuracy", "mean_per_class": "mean per class accuracy"}


@dataclass(frozen=True)
class Evidence:
    """What is known of one data set; a table or mapping is empty where nothing was given."""

    dataset: str
    runs: list[TestedModel]
    comparisons: list[Comparison]
    pairs: Pairs  # the primary arm and its reference, seed by seed
    changes: list[ClassChange]  # between them, class by class
    accuracy: pd.DataFrame
    convergence: pd.DataFrame
    losses: pd.DataFrame
    probes: pd.DataFrame
    transferability: pd.DataFrame
    examined: list[Examined]
    pictures: Pictures
    retrieved: dict[str, str]  # method of a retrieved set -> what it lacks, or ""
    made_of: Mapping[str, Mapping[str, Any]]  # by set, its group in params.yaml
    delivered: Mapping[str, Any] | None  # what `deliver` chose; None: not known
    generator_note: str | None  # what a reader must know of the generator before all else
    num_held_out: int | None  # labelled images that selected the learning rate; None: not known
    group_note: str | None  # what a reader must know of the groups of test images
    licences: Sequence[str] = ()  # of the generator that drew the images, a sentence each

    def methods(self) -> list[str]:
        """List the methods of all sets, generated and retrieved."""
        return [method for method in self.accuracy["method"].unique() if method != REAL]

    def known(self, settings: ReportSettings) -> Known:
        """Return what the top of the page is made from."""
        return Known(
            self.runs, self.comparisons, settings, self.retrieved, self.made_of, self.delivered
        )


def make_plots(evidence: Evidence, settings: ReportSettings) -> dict[str, Plot]:
    """Make the plots that the evidence allows, keyed by the names in TITLES."""
    primary, rows = settings.primary, evidence.comparisons
    beside_vanilla = [row for row in rows if row.reference == REFERENCE]
    of_primary_arm = [
        row for row in rows if primary and row.arm == primary.arm and row.method != REAL
    ]
    plots = {
        "accuracy": accuracy_plot(
            evidence.accuracy,
            measure=settings.measure,
            primary=primary,
            retrieved=evidence.retrieved,
        )
    }
    confidence = settings.confidence
    if beside_vanilla:
        plots["differences"] = differences_plot(
            beside_vanilla, confidence=confidence, retrieved=evidence.retrieved
        )
    if of_primary_arm:
        arm = of_primary_arm[0].arm
        plots["primary_arm"] = primary_arm_plot(of_primary_arm, arm=arm, confidence=confidence)
    if len(evidence.convergence):
        plots["convergence"] = convergence_plot(evidence.convergence, evidence.retrieved)
    if len(evidence.losses):
        plots["style_loss"] = style_loss_plot(evidence.losses)
    return plots


def render_page(evidence: Evidence, plots: dict[str, Plot], settings: ReportSettings) -> str:
    """Return the whole page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: _drawn(name, plot, evidence.dataset) for name, plot in plots.items()}
    return environment.get_template("report.html.j2").render(
        **_top(evidence, settings),
        **_values(evidence, settings),
        plots=drawn,
        main_panel=_main_panel(plots["accuracy"], evidence, settings),
        settings=settings,
    )


def _top(evidence: Evidence, settings: ReportSettings) -> dict[str, Any]:
    """Return the values of the top of the page, for whoever decides."""
    known, pictures = evidence.known(settings), evidence.pictures
    primary = settings.primary
    reference = primary and primary_rows(evidence.comparisons, primary)[0]
    num_classes = len(np.unique(evidence.runs[0].labels))
    costs = set_costs(evidence.made_of, evidence.examined, num_classes, pictures.bytes_each)
    name = known.primary_set()
    return {
        "answer": answer(known) if evidence.methods() else None,
        "next_steps": next_steps(known, evidence.dataset),
        "label_steps": label_rows(known) if known.primary_set() else [],
        "side_by_side": side_by_side(pictures, name),
        "classes": changed_classes(known, evidence.pairs, evidence.changes, pictures),
        "costs": cost_rows(costs),
        "work": work_sentences(evidence.runs, evidence.losses, reference or None),
        "generator_note": evidence.generator_note,
    }


def _values(evidence: Evidence, settings: ReportSettings) -> dict[str, Any]:
    """Return the values of the evidence, numbers as words."""
    first = evidence.runs[0]
    seeds = sorted({run.seed for run in evidence.runs if run.arm != ZERO_SHOT})
    accuracy = accuracy_rows(evidence.accuracy, settings.measure)
    comparisons = [comparison_row(row, settings) for row in evidence.comparisons]
    controls = [comparison_row(row, settings) for row in evidence.comparisons if is_control(row)]
    return {
        "dataset": evidence.dataset,
        "is_marked": is_selected_on_test(evidence.runs),
        "warning": WARNING.capitalize(),
        "smallest_gain": f"{settings.smallest_gain:g} point{'s' * (settings.smallest_gain != 1)}",
        "primary_shots": settings.primary and shots_words(settings.primary.shots),
        "alpha": f"{round(1 - settings.confidence, 6):g}",
        "percent": f"{100 * settings.confidence:g} %",
        "measure": MEASURE_NAMES[settings.measure],
        "num_runs": len(evidence.runs),
        "num_comparisons": len(comparisons),
        "num_exploratory": sum(not row.is_primary for row in evidence.comparisons),
        "num_groups": None if first.groups is None else len(np.unique(first.groups)),
        "group_note": evidence.group_note,
        "licences": evidence.licences,
        "selected_on": next((run.selected_on for run in evidence.runs if not is_clip(run.arm)), ""),
        "num_held_out": evidence.num_held_out,
        "num_test": len(first.labels),
        "num_classes": len(np.unique(first.labels)),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "sentence": verdict_sentence(
            evidence.dataset,
            evidence.comparisons,
            settings,
            images=evidence.known(settings).primary_images(),
        ),
        "underfits": underfit_sentences(evidence.comparisons),
        "has_sets": bool(evidence.methods()),
        "has_retrieved": bool(evidence.retrieved),
        "lacks": [
            f"{images_words(method, evidence.retrieved).capitalize()}: {lacks}"
            for method, lacks in evidence.retrieved.items()
            if lacks
        ],
        "shot_counts": [shots_words(shots) for shots in shots_of(evidence.accuracy)],
        "accuracy": [row for row in accuracy if not is_clip(row["arm"])],
        "clip": [row for row in accuracy if is_clip(row["arm"])],
        "beside": beside_table(evidence.accuracy),
        "comparisons": cut(comparisons),
        "controls": cut(controls),
        "probes": probe_rows(evidence.probes),
        "transferability": transferability_rows(evidence.transferability),
        "transferability_notes": transferability_notes(evidence.transferability),
        "examined": examined_section(evidence.examined),
        "runs": cut(run_rows(evidence.runs)),
        "provenance": evidence.pictures.provenance,
        "grid": _grid_rows(evidence.pictures),
    }


Drawn = list[dict[str, Any]]  # groups with their panels


def _grid_rows(pictures: Pictures) -> list[dict[str, Any]]:
    """Return a row a class, with a strip of pictures of each set."""
    return [
        {
            "class": name,
            "images": [
                {"set": set_name, "src": data_uri(strip(tiles[row]))}
                for set_name, tiles in pictures.tiles.items()
            ],
        }
        for row, name in enumerate(pictures.row_names)
        if pictures.tiles
    ]


def _drawn(name: str, plot: Plot, dataset: str) -> Drawn:
    """Draw every panel of a plot as SVG, with the words that a screen reader says."""
    return [
        {
            "title": group.title,
            "panels": [
                {
                    "title": panel.title,
                    "svg": _svg(
                        f"{name}-{row}-{column}", TITLES[name], group.title, panel, dataset
                    ),
                }
                for column, panel in enumerate(group.panels)
            ],
        }
        for row, group in enumerate(plot)
    ]


def _svg(salt: str, title: str, group: str, panel: Panel, dataset: str) -> Markup:
    words = ", ".join(filter(None, [title, group, panel.title, dataset]))
    svg = inline_svg(draw_panel(panel), f"{dataset}-{salt}", str(Markup.escape(words)))
    return Markup(svg)


def _main_panel(plot: Plot, evidence: Evidence, settings: ReportSettings) -> Markup | None:
    """Draw the primary arm beside vanilla, for the top of the page."""
    primary = settings.primary
    if primary is None or primary.method == REAL:
        return None
    title = f"with {images_words(primary.method, evidence.retrieved)}"
    for group in plot:
        for panel in group.panels:
            if (group.title, panel.title) == (title, family_of(primary.arm)):
                return _svg("main", TITLES["accuracy"], group.title, panel, evidence.dataset)
    return None
