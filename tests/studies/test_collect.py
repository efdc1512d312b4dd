import pytest
from studies.small_results import BRIDGED, ONE, REAL, arms, make_study, seeds

from synthbridge.studies.collect import PointResult, collect, missing_lines
from synthbridge.studies.definition import Point


def test_a_row_holds_its_seeds_its_place_and_its_experiment():
    flat, row, *_ = sorted(
        collect(make_study(), [(Point(), REAL), (Point(x=2.0), ONE)]),
        key=lambda row: (row.shots, row.row == "bridged"),
    )
    assert (flat.x, flat.mean, flat.shots) == (None, 62.0, "1")
    assert flat.spread == pytest.approx(2.8284, abs=1e-3)  # of 60 and 64: |difference| / sqrt(2)
    assert (row.x, row.mean, row.spread, row.gradient_steps) == (2.0, 70.0, 0.0, 50)
    assert (row.experiment, row.commit, row.dataset) == ("study-1", "c1", "digits")
    assert dict(row.over) == {"s0": 10.0, "s1": 6.0}
    assert not flat.over


def test_all_rows_are_cut_to_the_seeds_that_they_share():
    other = PointResult(
        "e", "c", {BRIDGED.format("template"): arms({"bridged": {"4": seeds(85.0)}})}
    )
    rows = collect(make_study(), [(Point(), REAL), (Point(x=1.0), other)])
    assert [(row.row, dict(row.values)) for row in rows] == [
        ("vanilla", {"s0": 60.0}),
        ("vanilla", {"s0": 80.0}),
        ("bridged", {"s0": 85.0}),
    ]
    assert dict(rows[-1].over) == {"s0": 5.0}


def test_what_no_seed_decides_cuts_no_other_row():
    """CLIP as it is stands under one seed on disk; the other rows keep all of theirs."""
    lines = [{"row": "vanilla", "arm": "vanilla"}, {"row": "zero-shot", "arm": "clip_zero_shot"}]
    study = make_study(draws="table", axis=None, lines=lines)
    zero_shot = {"metrics/digits/runs/clip.json": arms({"clip_zero_shot": {"0": seeds(33.0)}})}
    rows = collect(study, [(Point(), REAL), (Point(), PointResult("e", "c", zero_shot))])
    assert all(set(row.values) == {"s0", "s1"} for row in rows if row.row == "vanilla")
    assert dict(rows[-1].values) == {"once": 33.0}


def test_rows_that_share_no_seed_are_refused():
    only = {"bridged": {"1": {"s7": {"top1": 1.0}}}}
    other = PointResult("e", "c", {BRIDGED.format("template"): arms(only)})
    with pytest.raises(ValueError, match="no seed is in all rows"):
        collect(make_study(), [(Point(), REAL), (Point(x=1.0), other)])


def test_a_line_may_name_whom_it_is_compared_with():
    lines = [
        {"row": "vanilla", "arm": "vanilla"},
        {"row": "bridged", "arm": "bridged", "sets": ["template"]},
        {"row": "DSI", "arm": "bridged", "sets": ["dsi_1"], "against": "bridged"},
    ]
    dsi = {BRIDGED.format("dsi_1"): arms({"bridged": {"1": seeds(75.0, 71.0)}})}
    found = [(Point(), REAL), (Point(), ONE), (Point(), PointResult("e", "c", dsi))]
    rows = {(row.row, row.shots): row for row in collect(make_study(lines=lines), found)}
    assert dict(rows["DSI", "1"].over) == {"s0": 5.0, "s1": 1.0}
    assert dict(rows["bridged", "1"].over) == {"s0": 10.0, "s1": 6.0}


def test_a_reading_of_another_measure_is_compared_with_nothing():
    lines = [
        {"row": "vanilla", "arm": "vanilla"},
        {"row": "out of domain", "arm": "vanilla", "measure": "extra_top1"},
    ]
    both = {"top1": 90.0, "extra_top1": 40.0, "gradient_steps": 50}
    found = PointResult(
        "e", "c", {"metrics/digits/runs/real.json": arms({"vanilla": {"1": {"s0": both}}})}
    )
    vanilla, other = collect(make_study(lines=lines), [(Point(), found)])
    assert (vanilla.mean, other.mean) == (90.0, 40.0)
    assert not other.over


def test_sets_with_shots_of_their_own_make_one_line():
    line = {"row": "DSI", "arm": "bridged", "sets": ["dsi_1", "dsi_4"]}
    found = PointResult(
        "e",
        "c",
        {
            BRIDGED.format("dsi_1"): arms({"bridged": {"1": seeds(75.0)}}),
            BRIDGED.format("dsi_4"): arms({"bridged": {"4": seeds(88.0)}}),
            BRIDGED.format("template"): arms({"bridged": {"1": seeds(1.0)}}),
        },
    )
    rows = collect(make_study(lines=[line], axis="shots", against=None), [(Point(), found)])
    assert [(row.x, row.mean) for row in rows] == [("1", 75.0), ("4", 88.0)]


def test_numbers_of_units_are_places_on_the_axis():
    line = {"row": "first N", "arm": "first_{N}", "sets": ["template"]}
    firsts = {f"first_{number}": {"4": seeds(90.0 - number)} for number in (10, 2)}
    others = {"first_2_more": {"4": seeds(1.0)}, "other_first_2": {"4": seeds(2.0)}}
    found = PointResult("e", "c", {BRIDGED.format("template"): arms(firsts | others)})
    rows = collect(make_study(lines=[line], against=None), [(Point(), found)])
    assert [(row.x, row.mean) for row in rows] == [(2, 88.0), (10, 80.0)]


def test_readings_of_probe_have_no_shots():
    lines = [
        {"row": "before", "model": "upstream"},
        {"row": "after", "model": "plain", "sets": ["template"]},
    ]
    study = make_study(lines=lines, draws="table", axis=None, measure="leep", against="before")
    of_set = {"set": "template", "model": "plain", "measure": "leep"}
    content = [
        {"set": None, "model": "upstream", "measure": "leep", "seed": "once", "value": -2.0},
        {**of_set, "seed": "s0", "value": -1.0},
        {**of_set, "seed": "s1", "value": -1.5},
        {**of_set, "measure": "logme", "seed": "s0", "value": 9.0},
    ]
    found = PointResult("workspace", "c", {"metrics/digits/runs/probe.json": content})
    rows = collect(study, [(Point(), found)])
    assert [(row.row, row.shots, row.mean) for row in rows] == [
        ("before", None, -2.0),
        ("after", None, -1.25),
    ]
    assert dict(rows[1].over) == {"s0": 1.0, "s1": 0.5}  # over what no seed changes


def test_a_rate_selected_on_test_marks_the_row():
    marked = {"s0": {"top1_selected_on_test": 90.0, "gradient_steps": 50}}
    found = PointResult(
        "e", "c", {"metrics/digits/runs/real.json": arms({"vanilla": {"full": marked}})}
    )
    (row,) = collect(make_study(), [(Point(), found)])
    assert row.is_marked and row.mean == 90.0


def test_a_line_without_values_is_a_hole_and_another_measure_is_no_value():
    rows = collect(make_study(measure="extra_top1"), [(Point(), REAL), (Point(x=1.0), ONE)])
    assert rows == [] and missing_lines(make_study(), rows) == ["vanilla", "bridged"]


def test_two_points_at_one_place_are_refused_unless_their_rows_differ():
    again = PointResult("study-2", "c2", ONE.metrics)
    with pytest.raises(ValueError, match="study-1 and study-2 both give 'bridged' at 2.0 and 1"):
        collect(make_study(), [(Point(x=2.0), ONE), (Point(x=2.0), again)])
    rows = collect(make_study(), [(Point(x=2.0), ONE), (Point(x=2.0, rows=["vanilla"]), again)])
    assert len(rows) == 1
