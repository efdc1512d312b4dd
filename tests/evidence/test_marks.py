"""A learning rate selected on test images marks every number made with it, and no other."""

import csv
import json
from importlib.resources import files

import pytest
from evidence.reading_pages import Page
from evidence.simulated import simulate_clip, simulate_probe, simulate_runs, simulate_style

from synthbridge.evidence.marks import COLUMN, TABLES, WARNING
from synthbridge.evidence.results import read_runs
from synthbridge.stages.report import report

CLEAN = ("probe", "style_loss", "class_gap")  # they know no learning rate of real legs
MARK = f"{WARNING.capitalize()}."


def _report(settings, folder, *, marked):
    """Report on simulated runs; `marked` says that their rates were selected on test."""
    record = {"selected_on": "test"} if marked else {}
    small = {"num_test": 80, "shots": [1, 4], "seeds": [0, 1, 2], "methods": ["dsi"]}
    simulate_runs(folder / "final", **small, **record)
    simulate_probe(folder / "probe.json")
    simulate_style(folder / "style", ["s0"])
    report(
        settings,
        dataset="digits",
        final=[folder / "final"],
        probe=folder / "probe.json",
        styles={"dsi_4": folder / "style"},
        out=folder / "metrics",
    )
    return folder / "metrics"


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def marked(settings, tmp_path_factory):
    return _report(settings, tmp_path_factory.mktemp("marked"), marked=True)


@pytest.fixture(scope="module")
def unmarked(settings, tmp_path_factory):
    return _report(settings, tmp_path_factory.mktemp("unmarked"), marked=False)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_marked(name, marked, unmarked):
    rows, clean = _rows(marked / f"{name}.csv"), _rows(unmarked / f"{name}.csv")
    assert len(rows) == len(clean) > 0
    for row, other in zip(rows, clean, strict=True):
        assert row.pop(COLUMN) == "test"
        if "series" in row:
            assert row.pop("series") == f"{other.pop('series')} ({WARNING})"
        if name == "results":
            assert row.pop("selection_accuracy") == other.pop("held_out_accuracy")
        assert row == other  # the numbers themselves are the same


@pytest.mark.parametrize("name", CLEAN)
def test_numbers_made_without_that_rate_are_not_marked(name, marked, unmarked):
    path = f"{name}.csv"
    assert (marked / path).read_bytes() == (unmarked / path).read_bytes()
    assert {path.stem for path in marked.glob("*.csv")} == {*TABLES, *CLEAN}


def test_the_summary_keeps_marked_numbers_under_names_of_their_own(marked, unmarked):
    """So that `dvc metrics diff` never sets them beside others."""
    numbers = json.loads((marked / "summary.json").read_text())["digits"]
    clean = json.loads((unmarked / "summary.json").read_text())["digits"]
    for name in ("accuracy", "gain", "verdict"):
        assert numbers.pop(f"{name}_selected_on_test") == clean.pop(name)
    assert numbers == clean == {}


def _depends_on_the_rate(table):
    """Tell a table with numbers of final models: it names their arm, or what labels bring."""
    return bool({"arm", "labels"} & set(table.header))


def test_the_page_says_so_at_its_top_in_each_verdict_and_over_each_table_and_plot(marked):
    page = Page(marked / "report.html")
    assert "(learning rates selected on test images)" in page.title
    _, heading, top = next(part for part in page.paragraphs if part[0] == "mark")
    assert heading == page.headings[0] and "were selected on test images" in top
    verdicts = [text for _, _, text in page.paragraphs if text.startswith("With dsi images at ")]
    assert verdicts and all(WARNING in text for text in verdicts)
    depend = [table for table in page.tables if _depends_on_the_rate(table)]
    assert depend and all(table.above == MARK for table in depend)
    assert all(table.above != MARK for table in page.tables if table not in depend)
    drawn = [figure for figure in page.figures if figure.title.endswith(", digits")]
    assert {figure.heading for figure in drawn} >= {"Style inversion", "Paired differences"}
    for figure in drawn:
        assert (figure.above == MARK) == (figure.heading != "Style inversion")
    assert "never on test images" not in page.text


@pytest.mark.parametrize("name", ["plot_shots.json", "plot_epochs.json"])
def test_lines_of_dvc_plots_are_marked(name):
    template = files("synthbridge.evidence").joinpath(name).read_text()
    assert f"datum.{COLUMN} == 'test' ? ' ({WARNING})' : ''" in template


def test_held_out_selection_leaves_no_mark(unmarked):
    for path in (*unmarked.glob("*.csv"), unmarked / "summary.json", unmarked / "report.html"):
        text = path.read_text()
        assert WARNING not in text.lower() and "selected_on" not in text, path
    page = Page(unmarked / "report.html")
    assert "never on test images" in page.text_below("What was trained")
    assert not [part for part in page.paragraphs if part[0] == "mark"]
    assert ".mark" not in page.source


def test_the_stated_rate_of_arms_on_clip_bears_no_mark(settings, tmp_path):
    folder = tmp_path / "final"
    ones = {"shots": (1, "full"), "seeds": (1, 2)}
    simulate_runs(folder, **ones, num_test=80, selected_on="test")
    simulate_clip(folder / "clip", read_runs([folder], "digits")[0].labels, **ones)
    alone = settings.model_copy(update={"primary": None})
    report(alone, dataset="digits", final=[folder], out=tmp_path / "metrics")
    marks = {row["arm"]: row[COLUMN] for row in _rows(tmp_path / "metrics/accuracy.csv")}
    assert marks["clip_vanilla"] == "none" and marks["bridged"] == "test"
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())["digits"]
    assert set(summary["accuracy"]) == {"clip_zero_shot", "clip_vanilla"}
    assert "vanilla" in summary["accuracy_selected_on_test"]


def test_two_ways_on_one_data_set_are_refused(tmp_path):
    simulate_runs(tmp_path, num_test=40, shots=[1], seeds=[0], methods=[])
    path = tmp_path / "digits/real/vanilla_fc_reinit/1-s0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "selected_on": "test"}))
    with pytest.raises(ValueError, match="learning rate selected on test and some on validation"):
        read_runs([tmp_path], "digits")
