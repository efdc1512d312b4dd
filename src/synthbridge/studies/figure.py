"""The figure of a study: a panel a data set and number of shots, and one for the paper's curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthbridge.evidence.figures import COLOURS, DASHES, FAINT, INK, MARKERS, STYLE, legend_below
from synthbridge.studies.collect import Row
from synthbridge.studies.definition import ScaleName, Study, X
from synthbridge.studies.drawing import panels_of, places, shots_words

WORDS = {
    "top1": "test accuracy (%)",
    "mean_per_class": "mean per class accuracy (%)",
    "leep": "LEEP",
    "leep_random_head": "LEEP, random head",
    "fixed_feature_accuracy": "accuracy on frozen features (%)",
    "texture_accuracy": "test accuracy, texture alone (%)",
    "shape_accuracy": "test accuracy, shape alone (%)",
    "extra_top1": "accuracy out of domain (%)",
    "extra_mean_per_class": "mean per class accuracy out of domain (%)",
}
WIDTH, HEIGHT = 4.0, 3.4  # inches a panel


@matplotlib.rc_context(STYLE)
def draw_figure(study: Study, scale: ScaleName, rows: Sequence[Row]) -> Figure:
    """Draw every line of a study over its axis, with one spread over seeds each side.

    Places stand evenly, whatever their distance: the axes of the papers are lists.
    """
    panels = panels_of(study, rows)
    num = len(panels) + bool(study.paper.curves)
    figure = Figure(figsize=(WIDTH * max(num, 1.6), HEIGHT + 1), layout="constrained")
    axes = figure.subplots(1, num, squeeze=False)[0].tolist()
    looks = _looks(study)
    for panel, (title, inside) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, study, inside, looks)
        panel.set_title(f"{title} ({scale})")
        panel.set_ylabel(WORDS[study.measure])
    if study.paper.curves:
        _draw_paper(axes[-1], study)
    if any(row.is_marked for row in rows):
        figure.suptitle("Learning rate selected on test images", fontweight="bold")
    legend_below(figure, axes, columns=3)
    return figure


def _looks(study: Study) -> dict[str, dict[str, Any]]:
    """Give each line its look: the row compared with in ink, controls grey, the rest coloured."""
    looks: dict[str, dict[str, Any]] = {}
    num_plain = num_coloured = 0
    for line in study.lines:
        if line.row == study.against or line.is_control:
            colour = INK if line.row == study.against else FAINT
            index, num_plain = num_plain, num_plain + 1
        else:
            colour = COLOURS[num_coloured % len(COLOURS)]
            index, num_coloured = num_coloured, num_coloured + 1
        looks[line.row] = {
            "color": colour, "marker": MARKERS[index % 6], "linestyle": DASHES[index // 6 % 4],
        }  # fmt: skip
    return looks


def _draw_panel(
    panel: Axes, study: Study, rows: Sequence[Row], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    xs = places(study, rows)
    num_flat = 0
    for number, line in enumerate(study.lines):
        own = {row.x: row for row in rows if row.row == line.row}
        if None in own:  # does not vary
            look = {**looks[line.row], "marker": "", "linestyle": DASHES[1 + num_flat % 3]}
            num_flat += 1
            flat = own[None]
            spread = flat.spread or 0
            panel.axhline(flat.mean, label=line.row, **look)
            panel.axhspan(flat.mean - spread, flat.mean + spread, color=look["color"], alpha=0.06)
            continue
        found = [(index, own[x]) for index, x in enumerate(xs) if x in own]
        if found:
            # Beside one another, so that bars of one spread each side can be told apart.
            beside = 0.3 * (number / len(study.lines) - 0.5)
            panel.errorbar(
                [index + beside for index, _ in found],
                [row.mean for _, row in found],
                yerr=[row.spread or 0 for _, row in found],
                label=line.row, elinewidth=0.8, capsize=2, **looks[line.row],
            )  # fmt: skip
    _label_axis(panel, study.axis, xs)


def _label_axis(panel: Axes, words: str | None, xs: Sequence[X]) -> None:
    labels = [str(x) for x in xs]
    is_long = any(len(label) > 6 for label in labels)
    panel.set_xticks(
        range(len(xs)), labels, rotation=25 if is_long else 0, ha="right" if is_long else "center"
    )
    panel.set_xlabel("real images a class (shots)" if words == "shots" else words or "")


def _draw_paper(panel: Axes, study: Study) -> None:
    """Draw what the paper reports, in a panel of its own: other data, another scale."""
    xs = list(dict.fromkeys(x for curve in study.paper.curves.values() for x in curve))
    for index, (name, curve) in enumerate(study.paper.curves.items()):
        where = [place for place, x in enumerate(xs) if x in curve]
        values = [curve[xs[place]] for place in where]
        panel.plot(where, values, label=f"{name} (paper)", color=COLOURS[-1 - index % 6],
                   linestyle=DASHES[2], marker=MARKERS[index % 6])  # fmt: skip
    panel.set_title(f"the paper ({study.paper.scale})")
    _label_axis(panel, study.paper.axis, xs)


@matplotlib.rc_context(STYLE)
def draw_curves(study: Study, scale: ScaleName, curves: Sequence[Mapping[str, str]]) -> Figure:
    """Draw training accuracy an epoch of the last leg.

    Args:
        study: whose lines name arms and sets.
        scale: of the study.
        curves: rows of the report's convergence.csv: dataset, method, arm, shots, epoch,
            train_accuracy, spread.
    """
    looks = _looks(study)
    titles = list(dict.fromkeys((row["dataset"], row["shots"]) for row in curves))
    figure = Figure(figsize=(WIDTH * max(len(titles), 1.6), HEIGHT + 1), layout="constrained")
    axes = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0].tolist()
    for panel, (dataset, shots) in zip(axes, titles, strict=True):
        for line in study.lines:
            own = [
                row
                for row in curves
                if (row["dataset"], row["shots"], row["arm"]) == (dataset, shots, line.arm)
                and row["method"] in (line.sets or ["real"])
            ]
            look = {**looks[line.row], "marker": ""}
            epochs = [int(row["epoch"]) for row in own]
            means = [float(row["train_accuracy"]) for row in own]
            spreads = [float(row["spread"] or 0) for row in own]
            panel.plot(epochs, means, label=line.row, **look)
            low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
            high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
            panel.fill_between(epochs, low, high, color=look["color"], alpha=0.1, lw=0)
        panel.set_title(f"{dataset}, {shots_words(shots)} ({scale})")
        panel.set_xlabel("epoch on real images")
    axes[0].set_ylabel("training accuracy (%)")
    legend_below(figure, axes, columns=3)
    return figure
