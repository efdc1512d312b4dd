import csv

import pytest
from studies.small_results import BRIDGED, ONE, REAL, arms, make_study, seeds

from synthbridge.evidence.figures import write_png
from synthbridge.studies.collect import PointResult, Row, collect
from synthbridge.studies.definition import Point
from synthbridge.studies.drawing import (
    cell,
    draw_curves,
    draw_figure,
    fit_rows,
    fit_words,
    list_facts,
    places,
    render,
    tables,
    write_points,
)
from synthbridge.studies.experiments import Experiment

TWO = PointResult(
    "study-2", "c2", {BRIDGED.format("template"): arms({"bridged": {"1": seeds(72.0, 66.0)}})}
)


def rows_of(study):
    return collect(study, [(Point(), REAL), (Point(x=10.0), TWO), (Point(x=2.0), ONE)])


def test_a_cell_has_the_mean_and_the_paired_difference_with_its_interval():
    study = make_study()
    cells = {(row.row, row.shots, row.x): cell(row) for row in rows_of(study)}
    assert cells["vanilla", "1", None] == "62.0 ± 2.8"
    # Of +12 and +2: 7 -+ 12.706 (t at 97.5 %, one degree of freedom) x 5.
    assert cells["bridged", "1", 10.0] == "69.0 (+7.0 [-56.5, +70.5])"
    about = {
        "dataset": "d",
        "shots": None,
        "x": None,
        "gradient_steps": None,
        "is_control": False,
        "is_marked": False,
        "experiment": "e",
        "commit": "c",
    }
    assert cell(Row(row="r", measure="leep", values={"once": -1.29442}, **about)) == "-1.29"


def test_a_table_over_an_axis_has_its_places_in_order():
    study = make_study()
    assert places(study, rows_of(study)) == [2.0, 10.0]
    text = tables(study, rows_of(study))
    assert "digits, 1 shot; guidance:" in text and "digits, 4 shots; guidance:" in text
    assert "| guidance | 2.0 | 10.0 |" in text
    assert "| vanilla | 62.0 ± 2.8 | 62.0 ± 2.8 |" in text


def test_a_table_has_the_papers_columns_beside_ours_and_says_what_is_a_control():
    lines = [
        {"row": "vanilla", "arm": "vanilla"},
        {"row": "steps", "arm": "vanilla_equal_steps", "is_control": True},
    ]
    paper = {"words": "W.", "columns": {"Aircraft": {"vanilla": 79.7}}}
    study = make_study(draws="table", axis=None, lines=lines, paper=paper)
    text = tables(study, collect(study, [(Point(), REAL)]))
    assert "|  | digits, 1 shot | digits, 4 shots | Aircraft (paper) |" in text
    assert "| vanilla | 62.0 ± 2.8 | 82.0 ± 2.8 | 79.7 |" in text
    assert "| *steps* (control) |  |  |  |" in text


def test_a_row_says_whom_it_is_compared_with_where_the_others_are_not():
    lines = [
        {"row": "vanilla", "arm": "vanilla"},
        {"row": "steps", "arm": "vanilla_equal_steps"},
        {"row": "bridged", "arm": "bridged", "sets": ["template"], "against": "steps"},
    ]
    study = make_study(draws="table", axis=None, lines=lines)
    text = tables(study, collect(study, [(Point(), REAL), (Point(), ONE)]))
    assert "| bridged, over steps | 70.0" in text and "| steps |" in text


def test_what_has_no_shots_stands_in_every_panel():
    lines = [{"row": "vanilla", "arm": "vanilla"}, {"row": "zero-shot", "arm": "clip_zero_shot"}]
    study = make_study(draws="table", axis=None, lines=lines)
    clip = PointResult(
        "e",
        "c",
        {"metrics/digits/runs/tune_clip.json": arms({"clip_zero_shot": {"0": seeds(33.0)}})},
    )
    text = tables(study, collect(study, [(Point(), REAL), (Point(), clip)]))
    assert "| zero-shot | 33.0 | 33.0 |" in text


def test_shots_stand_in_their_order():
    study = make_study(axis="shots")
    found = PointResult(
        "e",
        "c",
        {
            "metrics/digits/runs/real.json": arms(
                {"vanilla": {"full": seeds(1.0), "16": seeds(2.0), "2": seeds(3.0)}}
            )
        },
    )
    assert places(study, collect(study, [(Point(), found)])) == ["2", "16", "full"]


def test_every_point_names_its_experiment_and_commit(tmp_path):
    study = make_study()
    write_points(tmp_path / "points.csv", "mine", "miniature", rows_of(study))
    with (tmp_path / "points.csv").open() as file:
        table = list(csv.DictReader(file))
    row = next(row for row in table if row["x"] == "10.0")
    assert (row["study"], row["scale"], row["experiment"], row["commit"]) == (
        "mine",
        "miniature",
        "study-2",
        "c2",
    )
    assert (row["mean"], row["num_seeds"], row["over"]) == ("69", "2", "7")
    assert (row["over_low"], row["over_high"]) == ("-56.531", "70.531")
    assert row["values"] == "s0:72 s1:66"


def test_the_page_marks_its_scale_and_names_what_made_it(tmp_path):
    study = make_study(reading="reconstruction", notes=["a note"])
    experiment = Experiment(
        "study-2", ("a",), ("synthetic.template.guidance_scale=10.0",), (), frozenset()
    )
    facts = list_facts(study, rows_of(study), [None, experiment])
    page = render(study, "mine", "miniature", "BODY", facts, tmp_path / "figure.png")
    assert "Scale: **miniature**; the paper's: full." in page and "our reading" in page
    assert "python src study mine --scale miniature" in page and "![T](figure.png)" in page
    assert "study-2: `synthetic.template.guidance_scale=10.0`" in page
    assert "Means over the 2 seeds that all rows have (s0, s1)" in page and "- a note" in page
    assert "points over *vanilla*" in page and "**All rows are explorations**" in page


def test_figures_are_the_same_bytes_again(tmp_path):
    study = make_study(paper={"words": "W.", "curves": {"fit": {"1": 85.6, "1/2": 84.1}}})
    for name in ("a.png", "b.png"):
        write_png(draw_figure(study, "miniature", rows_of(study)), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    figure = draw_figure(study, "miniature", rows_of(study))
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "digits, 1 shot (miniature)",
        "digits, 4 shots (miniature)",
        "the paper (full)",
    ]


def test_rows_are_fitted_in_the_logarithm_and_drawn_so():
    line = {"row": "frozen", "arm": "frozen", "sets": ["template"]}
    study = make_study(lines=[line], axis="shots", against=None, fits=["frozen"])
    accuracies = {"full": seeds(90.0), "16": seeds(88.0), "8": seeds(86.0)}
    found = PointResult("e", "c", {BRIDGED.format("template"): arms({"frozen": accuracies})})
    rows = collect(study, [(Point(), found)])
    fits = fit_rows(study, rows, {"digits": 32.0})
    words = "- digits, frozen, fitted: 90.00 -2.89 ln(reduction); all: 32 real images a class"
    assert fit_words(fits) == words
    (panel,) = draw_figure(study, "miniature", rows, fits).axes
    (fitted,) = (one for one in panel.lines if one.get_label() == "frozen, fitted")
    assert fitted.get_ydata() == pytest.approx([86.0, 88.0, 90.0])


def test_curves_are_of_the_lines_arms_and_sources():
    curves = [
        {
            "dataset": "digits",
            "method": source,
            "arm": arm,
            "shots": "1",
            "epoch": str(epoch),
            "train_accuracy": "50",
            "spread": "",
        }
        for source, arm in (("real", "vanilla"), ("template", "bridged"), ("dsi", "bridged"))
        for epoch in (1, 2)
    ]
    figure = draw_curves(make_study(draws="curves"), "miniature", curves)
    assert [line.get_label() for line in figure.axes[0].lines] == ["vanilla", "bridged"]


def test_lines_that_do_not_vary_have_dashes_of_their_own():
    """Most of them are grey."""
    lines = [{"row": f"row {n}", "arm": f"arm_{n}"} for n in range(8)]
    study = make_study(lines=lines, against="row 0")
    runs = arms({f"arm_{n}": {"1": seeds(float(n))} for n in range(8)})
    found = PointResult("e", "c", {"metrics/digits/runs/real.json": runs})
    (panel,) = draw_figure(study, "miniature", collect(study, [(Point(), found)])).axes
    assert len(panel.lines) == 8
    assert len({str(line._dash_pattern) for line in panel.lines}) == 8  # type: ignore[attr-defined]
