import json
from pathlib import Path

import pytest
from evidence.simulated import simulate_examined

from synthbridge.evidence.examined import (
    class_gap_rows,
    examined_section,
    gap_holes,
    gap_rows,
    leakage_rows,
    read_examined,
)


@pytest.fixture
def folder(tmp_path) -> Path:
    simulate_examined(tmp_path / "digits/dsi_4/findings")
    return tmp_path / "digits/dsi_4/findings"


def test_rows_of_a_set(folder):
    [item] = read_examined({"dsi_4": folder})
    [row] = leakage_rows([item])
    fractions = {"fraction": "5.00 %", "real": "2.50 %"}
    assert row == {"set": "dsi_4", "images": "60", "kept": "30 %", "found": "3", **fractions}
    [row] = gap_rows([item])
    assert row["cells"] == ["12.3", "0.123", "0.50", "0.25", "1.10", "0.40"]


@pytest.mark.parametrize(
    ("select", "which"),
    [
        ("clip", "most like their class"),
        ("entropy", "of highest entropy"),
        ("random", "at random"),
    ],
)
def test_a_row_says_of_how_many_drawn_images_which_train(folder, select, which):
    gap = json.loads((folder / "gap.json").read_text())
    (folder / "gap.json").write_text(json.dumps({**gap, "num_drawn": 2400, "select": select}))
    [row] = leakage_rows(read_examined({"hard_4": folder}))
    assert row["kept"] == f"30 % of 2,400 drawn, {which}"


def test_what_is_not_computed_is_said(folder):
    gap = json.loads((folder / "gap.json").read_text())
    del gap["subsets"]["all"]["fid"], gap["mean"]["fid"]
    (folder / "gap.json").write_text(json.dumps(gap))
    items = read_examined({"dsi_4": folder})
    assert gap_rows(items)[0]["cells"][0] == "\N{EN DASH}"
    by_class = "by class is not computed for 1 class (zero) of dsi_4: it needs"
    assert gap_holes(items) == [
        "FID of dsi_4 is not computed: it needs 50 images of either side.",
        f"FID {by_class} 50 images of either side.",
        f"KID {by_class} 10 images of either side.",
    ]


def test_of_many_small_classes_five_are_named(folder):
    gap = json.loads((folder / "gap.json").read_text())
    small = gap["subsets"]["all"]["by_class"][0]
    gap["subsets"]["all"]["by_class"] = [{**small, "class": name} for name in "abcdefgh"]
    (folder / "gap.json").write_text(json.dumps(gap))
    [fid, _] = gap_holes(read_examined({"dsi_4": folder}))
    assert fid.startswith(
        "FID by class is not computed for 8 classes (a, b, c, d, e and 3 more) of"
    )


def test_a_class_has_the_mean_of_its_subsets_and_one_without_measures_no_row(folder):
    gap = json.loads((folder / "gap.json").read_text())
    one = gap["subsets"]["all"]
    empty = {"class": "one", "num_real": 8, "num_images": 0}
    first = {**one["by_class"][0], "kid": 0.5}
    second = {**first, "precision": 0.5, "kid": 0.25}
    by_class = {"s0": [first, empty], "s1": [second, empty]}
    gap["subsets"] = {name: {**one, "by_class": rows} for name, rows in by_class.items()}
    (folder / "gap.json").write_text(json.dumps(gap))
    dash = "\N{EN DASH}"
    assert class_gap_rows(read_examined({"dsi_4": folder})) == [
        {"set": "dsi_4", "class": "zero", "cells": [dash, "0.375", "0.75", dash, dash, dash]}
    ]


def test_nothing_examined_shows_nothing():
    assert examined_section(read_examined({})) == {}


def test_broken_findings_are_named(folder):
    (folder / "pairs.png").unlink()
    with pytest.raises(ValueError, match="findings is not whole"):
        read_examined({"dsi_4": folder})
    (folder / "gap.json").write_text("{")
    with pytest.raises(ValueError, match="gap.json is not whole JSON"):
        read_examined({"dsi_4": folder})
