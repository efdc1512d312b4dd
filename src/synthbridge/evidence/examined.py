"""What `examine` found of each set: leakage and gap, as the page shows them.

A set's findings are a folder of leakage.json, pairs.png and gap.json.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthbridge.data.keeping import SELECTED
from synthbridge.evidence.cells import cut
from synthbridge.evidence.comparisons import DASH
from synthbridge.evidence.gap import mean_gap
from synthbridge.evidence.pictures import png_as_jpeg
from synthbridge.evidence.results import WAY_OUT, read_whole_json

DIGITS = {"fid": 1, "kid": 3, "precision": 2, "recall": 2, "density": 2, "coverage": 2}
NAMED = 5  # classes, where more are too small for a measure


@dataclass(frozen=True)
class Examined:
    """The findings of one set."""

    set: str
    leakage: dict[str, Any]
    gap: dict[str, Any]
    pairs: bytes  # PNG: the set's images above, the test images nearest to them below


def read_examined(folders: Mapping[str, Path]) -> list[Examined]:
    """Read the folders `findings`, by set.

    Raises:
        ValueError: if one is not there or broken.
    """
    found = []
    for name, folder in folders.items():
        try:
            found.append(
                Examined(
                    set=name,
                    leakage=read_whole_json(folder / "leakage.json"),
                    gap=read_whole_json(folder / "gap.json"),
                    pairs=(folder / "pairs.png").read_bytes(),
                )
            )
        except OSError as error:
            raise ValueError(f"{folder} is not whole ({error}); {WAY_OUT}") from None
    return found


def leakage_rows(examined: Sequence[Examined]) -> list[dict[str, str]]:
    """Return a row a set: near-duplicates of test images, and how many real images have one."""
    return [
        {
            "set": item.set,
            "images": f"{item.leakage['num_images']:,}",
            "kept": _kept(item.gap),
            "found": f"{item.leakage['num_near_duplicates']:,}",
            "fraction": f"{100 * item.leakage['fraction']:.2f} %",
            "real": f"{100 * item.leakage['real_train']['fraction']:.2f} %",
        }
        for item in examined
    ]


def _kept(gap: Mapping[str, Any]) -> str:
    """Say what of a set trains: of how many drawn images, and which of them."""
    fraction = f"{100 * gap['kept_fraction']:.0f} %"
    if "num_drawn" not in gap:
        return fraction
    return f"{fraction} of {gap['num_drawn']:,} drawn, {SELECTED[gap['select']]}"


def gap_rows(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """Return a row a set: its measures in the order of DIGITS, means over subsets."""
    return [
        {
            "set": item.set,
            "images": ", ".join(
                f"{gap['num_images']:,}" for gap in _first(item.gap["subsets"].values())
            ),
            "cells": _cells(item.gap["mean"]),
        }
        for item in examined
    ]


def class_gap_rows(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """Return a row a set and class that has a measure: means over subsets, as in `gap_rows`."""
    rows = []
    for item in examined:
        by_class: dict[str, list[dict[str, Any]]] = {}
        for gap in item.gap["subsets"].values():
            for row in gap["by_class"]:
                by_class.setdefault(row["class"], []).append(row)
        for name, gaps in by_class.items():
            if mean := mean_gap(gaps):
                rows.append({"set": item.set, "class": name, "cells": _cells(mean)})
    return rows


def class_gap_table(examined: Sequence[Examined]) -> pd.DataFrame:
    """Return the rows of `class_gap_rows` with their measures in columns."""
    rows = [
        {**row, **dict(zip(DIGITS, row["cells"], strict=True))} for row in class_gap_rows(examined)
    ]
    table = pd.DataFrame(rows, columns=pd.Index(["set", "class", *DIGITS]))
    return table.replace(DASH, None)


def _cells(mean: dict[str, float]) -> list[str]:
    return [_number(mean.get(name), digits) for name, digits in DIGITS.items()]


def _first(gaps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one gap of each number of images."""
    return list({gap["num_images"]: gap for gap in gaps}.values())


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def gap_holes(examined: Sequence[Examined]) -> list[str]:
    """Say which measures were not computed for want of images, a sentence a set and measure."""
    sentences = []
    for item in examined:
        for name, needed in next(iter(item.gap["subsets"].values()))["needs"].items():
            key = "precision" if name == "neighbours" else name
            gaps = list(item.gap["subsets"].values())
            what = "precision to coverage" if name == "neighbours" else name.upper()
            if any(key not in gap for gap in gaps):
                sentences.append(
                    f"{what} of {item.set} is not computed: it needs {needed:,} images of either "
                    "side."
                )
            classes = [row for gap in gaps for row in gap["by_class"]]
            without = list(dict.fromkeys(row["class"] for row in classes if key not in row))
            if without:
                sentences.append(
                    f"{what} by class is not computed for {_some(without)} of {item.set}: it needs "
                    f"{needed:,} images of either side."
                )
    return sentences


def _some(names: Sequence[str]) -> str:
    """Name classes, not all where they are many."""
    number = "1 class" if len(names) == 1 else f"{len(names)} classes"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{number} ({', '.join(names[:NAMED])}{more})"


def examined_section(examined: Sequence[Examined]) -> dict[str, Any]:
    """Return what the page's template needs of all sets of a data set; empty if there is none."""
    if not examined:
        return {}
    return {
        "clip": examined[0].gap["clip"],
        "threshold": f"{examined[0].leakage['threshold']:g}",
        "leakage": leakage_rows(examined),
        "gap": gap_rows(examined),
        "class_gap": cut(class_gap_rows(examined)),
        "holes": gap_holes(examined),
        "pictures": [(item.set, png_as_jpeg(item.pairs)) for item in examined],
    }
