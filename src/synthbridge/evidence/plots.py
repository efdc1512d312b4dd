"""Plots: accuracy against shots, differences, volume, convergence, style loss, picture grid.

A plot is a list of small panels, few lines in each. The page shows them one beside the other, as
many as its width holds, so that a phone and a sheet of paper show text of one size; `write_plot`
lays the same panels into one PNG for `dvc plots`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synthbridge.evidence.comparisons import Comparison, images_words, shots_words
from synthbridge.evidence.figures import (
    COLOURS,
    DASHES,
    FAINT,
    STYLE,
    Look,
    arm_looks,
    write_png,
)
from synthbridge.evidence.results import (
    CONTROL,
    REAL,
    REFERENCE,
    SYNTHETIC_ONLY,
    is_clip,
)
from synthbridge.evidence.settings import PrimaryComparison
from synthbridge.evidence.tables import arms_of, groups_of, rows_with, shots_of

WIDTH = 3.5  # inches of a panel: a phone shows its text as large as it is drawn
GRID_WIDTH = 8.0  # of the grid of pictures
HEIGHT = 2.3
ROW = 0.19  # inches of a line in a forest plot
MOST_POINTS = 200  # of a curve: what a panel can show
MEASURE_WORDS = {"top1": "test accuracy (%)", "mean_per_class": "mean per class accuracy (%)"}


@dataclass(frozen=True)
class Panel:
    """One small drawing; `draw` fills its axes."""

    title: str
    draw: Callable[[Axes], None]
    height: float = HEIGHT


@dataclass(frozen=True)
class Group:
    """Panels that stand together, in the PNG in one row."""

    title: str  # "": none
    panels: list[Panel] = field(default_factory=list)


Plot = list[Group]


@matplotlib.rc_context(STYLE)
def draw_panel(panel: Panel) -> Figure:
    """Draw a panel on its own; the page writes its title."""
    figure = Figure(figsize=(WIDTH, panel.height), layout="constrained")
    panel.draw(figure.subplots())
    return figure


@matplotlib.rc_context(STYLE)
def write_plot(plot: Plot, path: Path, heading: str | None = None) -> None:
    """Write all panels as one PNG, a row a group.

    Args:
        plot: its groups.
        path: the file.
        heading: stands over everything; None: nothing does.
    """
    heights = [0.25 + max(panel.height for panel in group.panels) for group in plot]
    columns = max(len(group.panels) for group in plot)
    figure = Figure(figsize=(WIDTH * columns, sum(heights)), layout="constrained")
    rows: Any = figure.subfigures(len(plot), 1, height_ratios=heights, squeeze=False)
    for row, group in zip(rows[:, 0], plot, strict=True):
        axes = row.subplots(1, columns, squeeze=False)[0]
        for unused in axes[len(group.panels) :]:
            unused.axis("off")
        for panel, each in zip(axes, group.panels, strict=False):
            each.draw(panel)
            panel.set_title(": ".join(filter(None, [group.title, each.title])), fontsize=9)
    if heading:
        figure.suptitle(heading, fontsize="medium", fontweight="bold")
    write_png(figure, path)


# --- lines ---------------------------------------------------------------------------------------


def accuracy_plot(
    accuracy: pd.DataFrame,
    *,
    measure: str,
    primary: PrimaryComparison | None,
    retrieved: Collection[str] = (),
) -> Plot:
    """Plot accuracy against shots: vanilla and its control beside a family of arms in each panel.

    A bar is one sample standard deviation over the seeds to each side. All panels but those of
    CLIP, another model, share their scale.
    """
    arms = arms_of(accuracy)
    own, clip = (
        rows_with(accuracy, "arm", [arm for arm in arms if is_clip(arm) == on_clip])
        for on_clip in (False, True)
    )
    real = rows_with(own, "method", [REAL])
    lines = _Lines(measure, shots_of(accuracy), primary, arm_looks({REFERENCE, *accuracy["arm"]}))
    first = []
    if len(real):
        first.append(lines.panel("real images only", real, own))
    if len(clip):
        first.append(lines.panel("CLIP, another model", clip, clip))
    groups = [Group("", first)] if first else []
    beside = rows_with(real, "arm", [REFERENCE, CONTROL])
    for method in (method for method in own["method"].unique() if method != REAL):
        of_set = rows_with(own, "method", [method])
        panels = []
        for family in dict.fromkeys(map(family_of, arms_of(of_set))):
            alike = [arm for arm in arms if family_of(arm) == family]
            chosen = rows_with(of_set, "arm", alike)
            panels.append(lines.panel(family, pd.concat([beside, chosen]), own))
        groups.append(Group(f"with {images_words(method, retrieved)}", panels))
    return groups


def family_of(arm: str) -> str:
    """Return what arms of one kind share: "bridged" of bridged_pp."""
    return arm if arm == SYNTHETIC_ONLY else arm.split("_")[0]


@dataclass(frozen=True)
class _Lines:
    """Draws accuracies against shots, in every panel alike."""

    measure: str
    shots: list
    primary: PrimaryComparison | None
    looks: dict[str, Look]

    def panel(self, title: str, rows: pd.DataFrame, scale: pd.DataFrame) -> Panel:
        """Return a panel of the arms in `rows`, with room for all of `scale`."""
        low, high = _limits(scale[self.measure], scale[f"{self.measure}_spread"])

        def draw(panel: Axes) -> None:
            arms = arms_of(rows)
            ends = {
                arm: self._line(panel, rows, arm, (index - (len(arms) - 1) / 2) * 0.045)
                for index, arm in enumerate(arms)
            }
            panel.set_ylim(low, high)
            panel.set_xlim(-0.3, len(self.shots) - 0.7)
            panel.set_xticks(range(len(self.shots)), [str(value) for value in self.shots])
            panel.set_xlabel("real training images per class (shots)")
            panel.set_ylabel(MEASURE_WORDS[self.measure])
            name_lines(panel, ends)

        return Panel(title, draw)

    def _line(self, panel: Axes, rows: pd.DataFrame, arm: str, aside: float) -> float:
        """Draw an arm with its bars, a little `aside`; return where it ends."""
        look, points = self.looks[arm], rows_with(rows, "arm", [arm])
        points = points.assign(x=[self.shots.index(value) for value in points["shots"]])
        points = points.sort_values("x")
        mean = points[self.measure].to_numpy(dtype=float)
        spread = np.nan_to_num(points[f"{self.measure}_spread"].to_numpy(dtype=float))
        bold = arm == REFERENCE or (self.primary is not None and arm == self.primary.arm)
        panel.errorbar(
            points["x"] + aside,
            mean,
            yerr=spread,
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            linewidth=2.2 if bold else 1.2,
            elinewidth=0.8,
            capsize=2,
            label=arm,
            zorder=3 if bold else 2,
        )
        return float(mean[-1])


def _limits(values: pd.Series, spreads: pd.Series) -> tuple[float, float]:
    """Return the ends of an axis that holds all values with their bars."""
    spread = spreads.fillna(0)
    low, high = float((values - spread).min()), float((values + spread).max())
    margin = 0.04 * max(high - low, 1.0)
    return max(low - margin, 0.0) if low >= 0 else low - margin, high + margin


def name_lines(panel: Axes, ends: dict[str, float]) -> None:
    """Name the lines beside the panel, in the order in which they end.

    Args:
        panel: its axes.
        ends: where the line of each label ends.
    """
    handles, labels = panel.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: -ends[labels[index]])
    panel.legend(
        [handles[index] for index in order],
        [labels[index] for index in order],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=7.5,
        handlelength=1.6,
    )


def convergence_plot(convergence: pd.DataFrame, retrieved: Collection[str] = ()) -> Plot:
    """Plot training accuracy per epoch of the last leg: a row a shot count, a panel a method."""
    looks = arm_looks({REFERENCE, *convergence["arm"]})
    methods = [method for method in convergence["method"].unique() if method != REAL]
    groups = []
    for count in shots_of(convergence):
        here = rows_with(convergence, "shots", [count])
        panels = []
        for method in methods or [REAL]:
            seen = rows_with(here, "method", [REAL, method])
            if len(rows_with(here, "method", [method])):
                title = images_words(method, retrieved) if methods else ""
                panels.append(_convergence_panel(title, seen, looks))
        if panels:
            groups.append(Group(shots_words(count), panels))
    return groups


def _convergence_panel(title: str, rows: pd.DataFrame, looks: dict[str, Look]) -> Panel:
    def draw(panel: Axes) -> None:
        ends = {}
        for (_, arm), line in groups_of(rows, ["method", "arm"]):
            line = thinned(line)
            mean = line["train_accuracy"].to_numpy(dtype=float)
            look = {"color": looks[arm].colour, "linestyle": looks[arm].dashes}
            # The control takes vanilla's own steps first, and would hide it.
            order = 2 if arm == CONTROL else 3
            panel.plot(line["epoch"], mean, **look, label=arm, zorder=order)
            ends[arm] = float(mean[-1])
        panel.set_ylim(-3, 103)
        panel.set_xlabel("epoch of the last leg")
        panel.set_ylabel("training accuracy (%)")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        name_lines(panel, ends)

    return Panel(title, draw)


def style_loss_plot(losses: pd.DataFrame) -> Plot:
    """Plot the style tokens' prediction loss, smoothed and at fixed noise: a panel a set."""
    top = 1.3 * float(losses["smoothed"].max())

    def panel_of(name: str) -> Panel:
        def draw(panel: Axes) -> None:
            curves = groups_of(rows_with(losses, "set", [name]), ["subset"])
            for index, (_, curve) in enumerate(curves):
                fixed = curve[curve["fixed_noise_loss"].notna()]
                curve = thinned(curve)
                look = {"color": COLOURS[1], "linestyle": DASHES[index % len(DASHES)]}
                label = "smoothed" if index == 0 else "_"
                panel.plot(curve["step"], curve["smoothed"], **look, linewidth=1.0, label=label)
                if len(fixed):
                    dots = {"color": COLOURS[4], "marker": "o", "markersize": 2.5, "linewidth": 0.8}
                    label = "at fixed noise" if index == 0 else "_"
                    panel.plot(fixed["step"], fixed["fixed_noise_loss"], **dots, label=label)
            panel.set_xlabel("step")
            panel.set_ylabel("prediction loss")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            panel.set_ylim(0, top)
            panel.legend(loc="lower left", fontsize=7.5)

        return Panel(str(name), draw)

    panels = [panel_of(name) for name in losses["set"].unique()]
    return [Group("", panels[start : start + 3]) for start in range(0, len(panels), 3)]


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Return at most MOST_POINTS rows of a curve, its first and last among them."""
    if len(curve) <= MOST_POINTS:
        return curve
    return curve.iloc[np.linspace(0, len(curve) - 1, MOST_POINTS).round().astype(int)]


# --- differences ---------------------------------------------------------------------------------


def differences_plot(
    comparisons: Sequence[Comparison], *, confidence: float, retrieved: Collection[str] = ()
) -> Plot:
    """Plot every arm's paired difference to vanilla: a row a shot count, a panel a method."""
    groups = []
    for count in _shots_of(comparisons):
        here = [row for row in comparisons if row.shots == count]
        limits = _ends(here)
        panels = []
        for method in dict.fromkeys(row.method for row in here):
            rows = [row for row in here if row.method == method]
            title = "real images only" if method == REAL else images_words(method, retrieved)
            labels = [row.arm for row in rows]
            measured = f"points over {REFERENCE}"
            panels.append(_forest(title, rows, labels, confidence, measured, limits))
        groups.append(Group(shots_words(count), panels))
    return groups


def primary_arm_plot(comparisons: Sequence[Comparison], *, arm: str, confidence: float) -> Plot:
    """Plot the paired differences of the primary arm to all that it is compared with."""
    panels = []
    for count in _shots_of(comparisons):
        rows = [row for row in comparisons if row.shots == count]
        labels = [
            f"{row.method} over {row.reference if row.reference_method == REAL else row.against}"
            for row in rows
        ]
        measured = f"points of {arm}"
        panels.append(_forest(shots_words(count), rows, labels, confidence, measured, _ends(rows)))
    return [Group("", panels)]


def _shots_of(comparisons: Sequence[Comparison]) -> list:
    return shots_of(pd.DataFrame({"shots": [row.shots for row in comparisons]}))


def _ends(rows: Sequence[Comparison]) -> tuple[float, float]:
    """Return the ends of an axis that holds zero and all intervals."""
    found = [0.0]
    for row in rows:
        interval = row.interval
        found += [interval.low, interval.high] if interval.is_known else [interval.difference]
    margin = 0.06 * max(max(found) - min(found), 1.0)
    return min(found) - margin, max(found) + margin


def _forest(
    title: str,
    rows: Sequence[Comparison],
    labels: Sequence[str],
    confidence: float,
    measured: str,
    limits: tuple[float, float],
) -> Panel:
    """Draw differences with their intervals, a line each.

    A filled mark is a sure difference, a star one of the two that make the verdict; its name is
    bold.
    """
    looks = arm_looks({REFERENCE, *(row.arm for row in rows)})

    def draw(panel: Axes) -> None:
        panel.axvline(0, color=FAINT, linewidth=1.2, zorder=1)
        for y, row in enumerate(rows):
            _difference_mark(panel, row, y, looks[row.arm], row.is_sure(confidence))
        panel.set_xlim(*limits)
        panel.set_xlabel(measured)
        panel.grid(visible=False, axis="y")
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_yticks(range(len(rows)), labels, fontsize=7.5)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
        for row, tick in zip(rows, panel.get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if row.is_primary else "normal")

    return Panel(title, draw, height=0.55 + ROW * len(rows))


def _difference_mark(panel: Axes, row: Comparison, y: int, look: Look, is_sure: bool) -> None:
    interval = row.interval
    if interval.is_known:
        ends = [interval.low, interval.high]
        panel.plot(ends, [y, y], color=look.colour, linewidth=1.6, zorder=2)
    panel.plot(
        [interval.difference],
        [y],
        marker="*" if row.is_primary else look.marker,
        markersize=10 if row.is_primary else 4.5,
        color=look.colour,
        markerfacecolor=look.colour if is_sure else "white",
        markeredgewidth=1.2,
        linestyle="none",
        zorder=3,
    )


# --- pictures ------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def grid_figure(pictures: dict[str, np.ndarray], class_names: list[str]) -> Figure:
    """Draw pictures side by side: a block of columns for each set, a row for each class.

    Args:
        pictures: for real images and each set (rows, pictures, H, W, 3) uint8, all with the same
            rows, H, W.
        class_names: of the rows.
    """
    first = next(iter(pictures.values()))
    rows, _, height, width = first.shape[:4]
    gap = max(1, height // 16)
    gutter = np.full((rows * (height + gap), width // 2, 3), 255, np.uint8)
    blocks, ticks, x = [], [], 0
    for tiles in pictures.values():
        padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
        # (rows, pictures, H, W, 3) -> (rows * H, pictures * W, 3)
        block = padded.transpose(0, 2, 1, 3, 4).reshape(len(gutter), -1, 3)
        ticks.append(x + block.shape[1] / 2)
        blocks += [block, gutter]
        x += block.shape[1] + gutter.shape[1]
    mosaic = np.concatenate(blocks[:-1], axis=1)
    figure = Figure(
        figsize=(GRID_WIDTH, 0.6 + (GRID_WIDTH - 1.2) * mosaic.shape[0] / mosaic.shape[1]),
        layout="constrained",
    )
    panel = figure.subplots()
    panel.imshow(mosaic, interpolation="none" if height >= 64 else "nearest")
    panel.set_xticks(ticks, list(pictures))
    panel.set_yticks((np.arange(rows) + 0.5) * (height + gap), class_names)
    panel.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return figure
