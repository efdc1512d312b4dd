"""The analysis of two made-up sets: what stands in its tables and its picture."""

from dataclasses import replace

import numpy as np
import pytest

from synthbridge.data.shards import encode_png, index_shard, write_shard
from synthbridge.data.synthetic import NamedSet
from synthbridge.evidence.comparisons import DASH
from synthbridge.evidence.figures import write_png
from synthbridge.studies.analysis import (
    ClassRow,
    SetAnalysis,
    class_rows,
    draw_extremes,
    write_analysis,
)
from synthbridge.studies.harm import RANDOM, WORST, Harm

NAMES = ["one", "two", "three", "four", "five", "six"]


def row(index, **found):
    accuracy = {"vanilla": 50.0, "synthetic_only": 10.0 * index, "bridged": 50.0 - index}
    known = {"precision": index / 10, "recall": 0.5, "clip_score": None, **found}
    return ClassRow(NAMES[index], accuracy, known, num_images=4, harmful=25.0)


@pytest.fixture
def harm(tmp_path):
    """Six images of six classes, each brighter than the one before; the darker, the worse."""
    samples = [
        {
            "__key__": f"all-{label:04d}",
            "png": encode_png(np.full((8, 8, 3), 40 * label, np.uint8)),
            "cls": label,
            "json": {"prompt": f"a photo of a {name}.", "class_name": name},
        }
        for label, name in enumerate(NAMES)
    ]
    write_shard(tmp_path / "b0/all-00000.tar", samples)
    influence = np.arange(6) / 1000 - 0.0025
    accuracies = {"all": (50.0, 60.0), WORST: (58.0, 62.5), RANDOM: (50.0, 60.5)}
    return Harm(index_shard(tmp_path / "b0/all-00000.tar"), influence, 0.987, accuracies)


@pytest.fixture
def analysis(harm):
    rows = [row(index) for index in range(6)]
    return SetAnalysis(NamedSet("template", None), 1, rows, [harm])


def test_a_class_stands_with_its_accuracy_and_its_gap_the_worst_first(analysis):
    page = write_analysis("digits", [analysis])
    assert "### digits, template; runs with 1 shot" in page
    assert f"| one | 50.0 | 0.0 | 50.0 | 0.00 | 0.50 | {DASH} | 4 | 25 |" in page
    assert page.index("| one |") < page.index("| six |")


def test_ranks_that_agree_and_what_does_not_vary(analysis):
    page = write_analysis("digits", [analysis])
    assert "| template | synthetic only | +1.00 [" in page and f"] | {DASH} | {DASH} |" in page
    assert "| template | bridged over vanilla | -1.00 [" in page


def test_accuracies_without_the_worst_are_means_over_subsets(analysis, harm):
    other = replace(
        harm, accuracies={"all": (70.0, 80.0), WORST: (70.0, 80.0), RANDOM: (70.0, 76.0)}
    )
    page = write_analysis("digits", [replace(analysis, harms=[harm, other])])
    cells = "70.0 (60.0) | 71.2 (64.0) | 68.2 (60.0) | +3.0 ± 1.4 | 0.99"
    assert f"| template | {cells} |" in page
    assert "| +2.0 | 0.99 |" in write_analysis("digits", [analysis])


def test_the_picture_shows_the_worst_images_first(analysis, tmp_path):
    figure = draw_extremes({"digits": [analysis]})
    shown = [axes for part in figure.subfigs for axes in part.axes if axes.images]
    assert len(shown) == 12
    tones = [axes.images[0].get_array()[0, 0, 0] for axes in shown]
    assert tones == [40 * label for label in (*range(6), *reversed(range(6)))]
    assert "a photo of a one." in shown[0].get_xlabel() and "-2.50" in shown[0].get_xlabel()
    write_png(figure, tmp_path / "figure.png")


def test_class_rows_are_means_over_seeds_and_subsets(harm, make_run):
    labels = np.repeat(np.arange(6), 2)
    runs = [
        make_run(arm, seed, labels, correct)
        for arm in ("vanilla", "synthetic_only", "bridged")
        for seed, correct in enumerate((labels == 0, np.ones(12, bool)))
    ]
    by_class = [{"class": name, "precision": 0.1, "clip_score": 0.3} for name in NAMES]
    other = [{**one, "precision": 0.2, "recall": 0.4} for one in by_class]
    gap = {"subsets": {"s0": {"by_class": by_class}, "s1": {"by_class": other}}}
    rows = class_rows(NAMES, runs, gap, [harm, harm])
    assert [one.accuracy["vanilla"] for one in rows[:2]] == [100.0, 50.0]
    assert rows[0].found == pytest.approx({"precision": 0.15, "recall": None, "clip_score": 0.3})
    assert (rows[0].num_images, rows[0].harmful, rows[5].harmful) == (1, 100.0, 0.0)
    with pytest.raises(ValueError, match="no run of arm 'bridged'"):
        class_rows(NAMES, [run for run in runs if run.arm != "bridged"], gap, [harm])
