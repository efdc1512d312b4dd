"""A learning rate selected on test images marks every number made with it, and no other."""

import csv
import json
import re

import pytest
from evidence.simulated import simulate_probe, simulate_runs, simulate_style

from synthbridge.evidence.marks import COLUMN, TABLES, WARNING
from synthbridge.evidence.results import read_runs
from synthbridge.stages.report import report

CLEAN = ("probe", "style_loss")  # they know no learning rate of real legs


def _report(settings, folder, **marked):
    """Report on two data sets; `marked` tells which have rates selected on test."""
    for dataset in ("digits", "pets"):
        record = {"selected_on": "test"} if marked.get(dataset) else {}
        simulate_runs(folder / "final", dataset=dataset, num_test=80, shots=[1, 4], seeds=[0, 1],
                      methods=["dsi"], **record)  # fmt: skip
        simulate_probe(folder / f"probe/{dataset}.json", dataset=dataset)
        simulate_style(folder / f"styles/{dataset}/dsi_4", ["s0"])
    report(
        settings,
        final=[folder / "final"],
        probe=[folder / "probe"],
        styles=[folder / "styles"],
        out=folder / "metrics",
    )
    return folder / "metrics"


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def both(settings, tmp_path_factory):
    return _report(settings, tmp_path_factory.mktemp("both"), digits=True, pets=True)


@pytest.fixture(scope="module")
def neither(settings, tmp_path_factory):
    return _report(settings, tmp_path_factory.mktemp("neither"))


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_marked(name, both, neither):
    marked, clean = _rows(both / f"{name}.csv"), _rows(neither / f"{name}.csv")
    assert len(marked) == len(clean) > 0
    for row, other in zip(marked, clean, strict=True):
        assert row.pop(COLUMN) == "test"
        if "series" in row:
            assert row.pop("series") == f"{other.pop('series')} ({WARNING})"
        if name == "results":
            assert row.pop("selection_accuracy") == other.pop("held_out_accuracy")
        assert row == other  # the numbers themselves are the same


@pytest.mark.parametrize("name", CLEAN)
def test_numbers_made_without_that_rate_are_not_marked(name, both, neither):
    path = f"{name}.csv"
    assert (both / path).read_bytes() == (neither / path).read_bytes()
    assert {path.stem for path in both.glob("*.csv")} == {*TABLES, *CLEAN}


def test_the_summary_keeps_marked_numbers_under_names_of_their_own(both, neither):
    """So that `dvc metrics diff` never sets them beside others."""
    marked = json.loads((both / "summary.json").read_text())["digits"]
    clean = json.loads((neither / "summary.json").read_text())["digits"]
    for name in ("accuracy", "difference"):
        assert marked.pop(f"{name}_selected_on_test") == clean.pop(name)
    fixed = {"fixed_feature_accuracy", "fixed_feature_own_head_accuracy"}
    assert marked == clean and set(clean) == {"leep", "leep_random_head", "logme"} | fixed


def test_the_page_says_so_at_its_top_in_each_verdict_and_over_each_table_and_plot(both):
    page = (both / "report.html").read_text()
    top = page.index("were selected on test images (<code>real_leg.select_on: test</code>)")
    assert "The learning rates of digits, pets\n" in page[:top] and top < page.index("<h2>")
    assert "(learning rates selected on test images)</title>" in page
    sentences = re.findall(r"<p>(With \w+ images on \w+, .*?)</p>", page)
    assert len(sentences) == 2 and all(WARNING in sentence for sentence in sentences)
    over = f'<p class="mark">{WARNING.capitalize()}.</p>\n'
    tables = re.findall(r"(.*\n)(?:<div class=\"wide\">\n)<table>\n<thead><tr><th>(\w+)", page)
    marked = [line == over for line, first_column in tables if first_column == "images"]
    assert len(marked) == 8 and all(marked)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert sum(WARNING.capitalize() in plot for plot in plots) == 6  # of 8: not the style losses
    assert "never on test images" not in page


def test_held_out_selection_leaves_no_mark(neither):
    for path in (*neither.glob("*.csv"), neither / "summary.json", neither / "report.html"):
        text = path.read_text()
        assert WARNING not in text.lower() and "selected_on" not in text, path
    page = (neither / "report.html").read_text()
    assert "never on test images" in page and 'class="mark"' not in page and ".mark" not in page


def test_only_the_data_set_that_it_holds_for_is_marked(settings, tmp_path):
    metrics = _report(settings, tmp_path, pets=True)
    marks = {(row["dataset"], row[COLUMN]) for row in _rows(metrics / "accuracy.csv")}
    assert marks == {("digits", "validation"), ("pets", "test")}
    summary = json.loads((metrics / "summary.json").read_text())
    assert "accuracy" in summary["digits"] and "accuracy_selected_on_test" in summary["pets"]
    page = (metrics / "report.html").read_text()
    digits, pets = page.split("<h2>pets</h2>")
    assert 'class="mark">Learning' not in digits and 'class="mark">Learning' in pets
    assert "The learning rates of pets\n" in digits


def test_two_ways_on_one_data_set_are_refused(tmp_path):
    simulate_runs(tmp_path, num_test=40, shots=[1], seeds=[0], methods=[])
    path = tmp_path / "digits/real/vanilla_fc_reinit/1-s0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "selected_on": "test"}))
    with pytest.raises(ValueError, match="some runs on digits have a learning rate selected on te"):
        read_runs([tmp_path])
