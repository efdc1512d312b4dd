"""Plots: accuracy against shots, paired differences, convergence, style loss, picture grid.

Each function draws what one data set gives of the tables in tables.py and returns a Figure.
"""

from collections.abc import Collection

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
    legend_below,
    panels,
)
from synthbridge.evidence.results import CONTROL, REAL, REFERENCE, is_clip
from synthbridge.evidence.settings import PrimaryComparison
from synthbridge.evidence.tables import arms_of, groups_of, rows_with, shots_of

WIDTH = 8.0  # inches: text stays legible when a page shows the figure at 700 pixels
MEASURE_WORDS = {"top1": "test accuracy (%)", "mean_per_class": "mean per class accuracy (%)"}


@matplotlib.rc_context(STYLE)
def plot_accuracy(
    accuracy: pd.DataFrame,
    *,
    measure: str,
    primary: PrimaryComparison | None,
    retrieved: Collection[str] = (),
) -> Figure:
    """Draw accuracy against shots, a panel for each kind of set, a band of one spread a side."""
    looks, shots = arm_looks({REFERENCE, *accuracy["arm"]}), shots_of(accuracy)
    methods = [method for method in accuracy["method"].unique() if method != REAL]
    figure, axes = panels(max(1, len(methods)), width=WIDTH, height=4.2, wide=2)
    for panel, method in zip(axes, methods or [REAL], strict=True):
        seen = rows_with(accuracy, "method", [REAL, method])
        for arm in arms_of(seen):
            points = rows_with(seen, "arm", [arm])
            points = points.assign(x=[shots.index(value) for value in points["shots"]])
            label = f"{arm} (another model)" if is_clip(arm) else arm
            bold = arm == REFERENCE or (primary is not None and arm == primary.arm)
            line = points.sort_values("x")
            _line_with_band(panel, line, measure, looks[arm], label=label, bold=bold)
        images = images_words(method, retrieved)
        panel.set_title(f"with {images}" if methods else "real images only")
        panel.set_xticks(range(len(shots)), [str(value) for value in shots])
        panel.set_xlim(-0.25, len(shots) - 0.75)
        panel.set_xlabel("real training images per class (shots)")
    axes[0].set_ylabel(MEASURE_WORDS[measure])
    legend_below(figure, axes)
    return figure


def _line_with_band(
    panel: Axes, points: pd.DataFrame, measure: str, look: Look, *, label: str, bold: bool
) -> None:
    x, mean = points["x"].to_numpy(), points[measure].to_numpy(dtype=float)
    spread = np.nan_to_num(points[f"{measure}_spread"].to_numpy(dtype=float))
    panel.plot(
        x,
        mean,
        color=look.colour,
        marker=look.marker,
        linestyle=look.dashes,
        linewidth=2.4 if bold else 1.3,
        label=label,
        zorder=3 if bold else 2,
    )
    if len(x) > 1:
        panel.fill_between(x, mean - spread, mean + spread, color=look.colour, alpha=0.1, lw=0)
    else:
        panel.errorbar(x, mean, yerr=spread, color=look.colour, capsize=2)


def plot_differences(comparisons: list[Comparison], *, confidence: float) -> Figure:
    """Draw every arm's paired difference to vanilla with its interval, a panel a shot count."""
    labels = [row.arm if row.method == REAL else f"{row.arm} · {row.method}" for row in comparisons]
    return _forest(comparisons, labels, confidence, f"points over {REFERENCE}")


def plot_primary_arm(comparisons: list[Comparison], *, arm: str, confidence: float) -> Figure:
    """Draw the paired differences of the primary arm to all that it is compared with."""
    labels = [
        f"{row.method} over {row.reference if row.reference_method == REAL else row.against}"
        for row in comparisons
    ]
    return _forest(comparisons, labels, confidence, f"points of {arm} over the other")


@matplotlib.rc_context(STYLE)
def _forest(
    comparisons: list[Comparison], labels: list[str], confidence: float, measured: str
) -> Figure:
    """Draw differences with their intervals, a line a label, a panel a shot count.

    A filled mark is a sure difference, a star one of the two that make the verdict; its name is
    bold.
    """
    looks = arm_looks({REFERENCE, *(row.arm for row in comparisons)})
    lines = list(dict.fromkeys(labels))
    shots = shots_of(pd.DataFrame({"shots": [row.shots for row in comparisons]}))
    height = 0.9 + 0.22 * len(lines)
    figure, axes = panels(len(shots), width=WIDTH, height=height, share_x=False)
    for panel, count in zip(axes, shots, strict=True):
        panel.axvline(0, color=FAINT, linewidth=1.2, zorder=1)
        for row, label in zip(comparisons, labels, strict=True):
            if row.shots == count:
                is_sure = row.is_sure(confidence)
                _difference_mark(panel, row, lines.index(label), looks[row.arm], is_sure)
        panel.set_title(shots_words(count))
        panel.set_xlabel(measured)
        panel.grid(visible=False, axis="y")
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    axes[0].set_yticks(range(len(lines)), lines)
    primary = {label for row, label in zip(comparisons, labels, strict=True) if row.is_primary}
    for tick in axes[0].get_yticklabels():
        tick.set_fontweight("bold" if tick.get_text() in primary else "normal")
    return figure


def _difference_mark(panel: Axes, row: Comparison, y: int, look: Look, is_sure: bool) -> None:
    interval = row.interval
    if interval.is_known:
        ends = [interval.low, interval.high]
        panel.plot(ends, [y, y], color=look.colour, linewidth=1.6, zorder=2)
    panel.plot(
        [interval.difference],
        [y],
        marker="*" if row.is_primary else look.marker,
        markersize=12 if row.is_primary else None,
        color=look.colour,
        markerfacecolor=look.colour if is_sure else "white",
        markeredgewidth=1.4,
        linestyle="none",
        zorder=3,
    )


@matplotlib.rc_context(STYLE)
def plot_convergence(convergence: pd.DataFrame) -> Figure:
    """Draw training accuracy per epoch of the last leg, a panel a shot count."""
    looks = arm_looks({REFERENCE, *convergence["arm"]})
    shots = shots_of(convergence)
    methods = [method for method in convergence["method"].unique() if method != REAL]
    dashes = dict(zip(methods, ("-", (0, (4, 1.5)), (0, (1, 1.2))) * len(methods), strict=False))
    figure, axes = panels(len(shots), width=WIDTH, height=3.4, share_x=False)
    for panel, count in zip(axes, shots, strict=True):
        lines = groups_of(rows_with(convergence, "shots", [count]), ["method", "arm"])
        for (method, arm), line in lines:
            epochs, mean = line["epoch"], line["train_accuracy"].to_numpy(dtype=float)
            label = arm if method == REAL else f"{arm} · {method}"
            colour = looks[arm].colour
            look = {"color": colour, "linestyle": dashes.get(method, "-")}
            # The control takes vanilla's own steps first, and would hide it.
            panel.plot(epochs, mean, **look, label=label, zorder=2 if arm == CONTROL else 3)
            spread = np.nan_to_num(line["spread"].to_numpy(dtype=float))
            panel.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.1, lw=0)
        panel.set_title(shots_words(count))
        panel.set_xlabel("epoch of the last leg")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes[0].set_ylabel("training accuracy (%)")
    legend_below(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def plot_style_loss(losses: pd.DataFrame) -> Figure:
    """Draw the style tokens' noise prediction loss, a panel a set, a line a token."""
    sets = list(losses["set"].unique())
    figure, axes = panels(len(sets), width=WIDTH, height=3.0)
    for panel, name in zip(axes, sets, strict=True):
        curves = groups_of(rows_with(losses, "set", [name]), ["subset"])
        for index, (_, curve) in enumerate(curves):
            look = {"color": COLOURS[1], "linestyle": DASHES[index % len(DASHES)]}
            noisy = {"color": COLOURS[0], "alpha": 0.35, "linewidth": 0.6}
            panel.plot(curve["step"], curve["loss"], **noisy, label="each step")
            panel.plot(curve["step"], curve["smoothed"], **look, label="smoothed")
            fixed = curve[curve["fixed_noise_loss"].notna()]
            if len(fixed):
                dotted = {"color": COLOURS[4], "marker": "o", "markersize": 3, "linewidth": 1.2}
                values = fixed["fixed_noise_loss"]
                panel.plot(fixed["step"], values, **dotted, label="at fixed noise")
        panel.set_title(str(name))
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    # A few steps fall on very noisy latents; the bulk of the curve is what tells.
    axes[0].set_ylim(0, 1.3 * float(losses["loss"].quantile(0.98)))
    axes[0].set_ylabel("noise prediction loss")
    legend_below(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def plot_grid(pictures: dict[str, np.ndarray], class_names: list[str]) -> Figure:
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
        figsize=(WIDTH, 0.6 + (WIDTH - 1.2) * mosaic.shape[0] / mosaic.shape[1]),
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
