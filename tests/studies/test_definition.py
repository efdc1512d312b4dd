import csv

import pytest

from house import ROOT
from synthbridge.core.files import write_text
from synthbridge.studies.definition import list_studies, read_study

FOLDER = ROOT / "studies"
NAMES = [
    *(f"bridged-table{number}" for number in range(1, 8)),
    *(f"bridged-fig{number}" for number in range(2, 11)),
    *("gap-fig2", "gap-fig3", "gap-fig4", "gap-ablations"),
    *("retrieval-analysis", "retrieval-counts"),
    *("diversify-longtail", "diversify-scaling"),
]
SMALL = """
title: T
cites: S
reading: stated
question: Q
draws: table
lines:
- {row: vanilla, arm: vanilla}
miniature: {}
full: {}
paper: {words: W}
"""


def test_every_study_is_there_in_its_order():
    assert list_studies(FOLDER) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_says_all_that_a_reader_needs(name):
    study = read_study(name, FOLDER)
    assert study.cites.split(",")[0].split(":")[0] in ("Bridged", "Gap", "Retrieval", "Diversify")
    assert study.question.endswith("?") and study.paper.words.endswith(".")
    assert study.full.prepare
    if study.draws in ("table", "figure") and any(line.arm for line in study.lines):
        assert any(line.is_control for line in study.lines)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_paper_are_rows_of_ours(name):
    study = read_study(name, FOLDER)
    rows = {line.row for line in study.lines}
    if study.axis is None and rows:
        for column in study.paper.columns.values():
            assert set(column) <= rows


# What every comparison of accuracies must hold, by how the names of arms begin and end.
CONTROLS = [("vanilla", "equal_steps"), ("vanilla", "fc_reinit"), ("synthetic_only", "")]
# CLIP's classifiers all start from the classes' names: there is no fresh head.
CLIP_CONTROLS = [("clip_vanilla", "equal_steps"), ("clip_synthetic_only", "")]


@pytest.mark.parametrize("name", NAMES)
def test_controls_stand_in_every_comparison_of_accuracies(name):
    study = read_study(name, FOLDER)
    arms = {arm for line in study.lines for arm in line.arms}
    if not arms:
        return  # pictures, sizes, and readings of models
    controls = CLIP_CONTROLS if "clip_vanilla" in arms else CONTROLS
    if study.draws == "curves":  # how fast training goes, not how far
        controls = CONTROLS[:1]
    for start, end in controls:
        assert any(arm.startswith(start) and arm.endswith(end) for arm in arms), (start, end)
    assert any("retrieved" in line.sets and line.arm for line in study.lines)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_has_been_measured_in_the_miniature(name):
    with (ROOT / "metrics" / "studies" / name / "points.csv").open() as file:
        measured = {row["row"] for row in csv.DictReader(file)}
    study = read_study(name, FOLDER)
    wanted = {line.row for line in study.lines if line.is_control}
    assert wanted <= measured


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("draws: table", "draws: chart", "draws is 'chart'; it should be 'table', 'figure'"),
        ("draws: table", "draws: figure", "a figure needs an axis"),
        ("arm: vanilla", "arms: vanilla", "lines.0.arms is not a known key"),
        (", arm: vanilla", "", "row 'vanilla' names either an arm or a model of probe"),
        ("draws: table", "draws: table\nagainst: b", "against is 'b'; choose from vanilla"),
        ("miniature: {}", "miniature: {points: [{rows: [x]}]}", "a point has row 'x'; choose from"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path, old, new, sentence):
    write_text(tmp_path / "mine.yaml", SMALL.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_study("mine", tmp_path)
    assert sentence in str(error.value)


def test_an_unknown_study_is_refused():
    with pytest.raises(ValueError, match="'gap-fig9' is no study; choose from bridged-table1"):
        read_study("gap-fig9", FOLDER)
