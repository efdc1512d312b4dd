"""Figures: one look for every plot, and files with the same bytes for the same numbers."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthbridge.core.files import whole_file
from synthbridge.evidence.results import REFERENCE, arm_key, is_clip

INK = "#1c1c21"  # of text and axes; the page turns it into its own text colour
FAINT = "#8a8a93"  # legible on white and on black alike

# Okabe and Ito's palette for all kinds of colour vision, without its yellow, which fades on white.
# Sorted by use: the first go to the bridged arms.
COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")
CLIP_COLOUR, CLIP_MARKERS = "#9a7b4f", ("x", "+", "1", "2")
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
LEGEND_COLUMNS = 3  # at most: long labels take fewer

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn, alike in every plot of a report."""

    colour: str
    marker: str
    dashes: str | tuple[int, tuple[float, ...]]


def arm_looks(arms: Iterable[str]) -> dict[str, Look]:
    """Give each arm its look: vanilla and its variants in ink and grey, the rest in colour.

    Arms on CLIP, another model, share a colour and dots.
    """
    looks: dict[str, Look] = {}
    num_plain = num_coloured = num_clip = 0
    for arm in sorted(set(arms), key=arm_key):
        if is_clip(arm):
            looks[arm] = Look(CLIP_COLOUR, CLIP_MARKERS[num_clip % 4], (0, (1, 1.2)))
            num_clip += 1
        elif arm.startswith(REFERENCE):
            colour = INK if arm == REFERENCE else FAINT
            looks[arm] = Look(colour, MARKERS[num_plain % 6], DASHES[num_plain % 4])
            num_plain += 1
        else:
            index = num_coloured % len(COLOURS)
            dashes = DASHES[num_coloured // len(COLOURS) % 4]
            looks[arm] = Look(COLOURS[index], MARKERS[index], dashes)
            num_coloured += 1
    return looks


def legend_below(figure: Figure, axes: list[Axes]) -> None:
    """Put one legend for all panels below them, each label once, no wider than the figure."""
    entries = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for columns in range(LEGEND_COLUMNS, 0, -1):
        legend = figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=columns
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, on white."""
    with whole_file(path) as partial:
        figure.savefig(
            partial, format="png", dpi=144, facecolor="white", metadata={"Software": None}
        )


def inline_svg(figure: Figure, salt: str, title: str) -> str:
    """Return a figure as an SVG element for a page, transparent, in the page's text colour.

    Args:
        figure: to draw.
        salt: names the figure; ids made with it do not clash with those of another.
        title: read out by screen readers.
    """
    file = io.StringIO()
    # fonttype none: text stays text, small and searchable, in the page's own font.
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "svg.id": salt}):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
