import csv
import re

import pytest

from house import ROOT
from synthbridge.core.files import write_text
from synthbridge.studies.definition import list_studies, read_study

FOLDER = ROOT / "studies"
NAMES = [
    *(f"bridged-table{number}" for number in range(1, 8)),
    *(f"bridged-fig{number}" for number in (2, 3, 4, 5, 6, 8, 9, 10)),  # 7 explains DSI
    *("gap-fig2", "gap-fig3", "gap-fig4", "gap-ablations"),
    *("retrieval-analysis", "retrieval-counts"),
    *("diversify-domains", "diversify-longtail", "diversify-lowdata", "diversify-names"),
    *("diversify-norms", "diversify-scaling", "generators", "tuned-generator", "hard-images"),
    *("fixed-rate", "style-word"),
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
    papers = ("Bridged", "Gap", "Retrieval", "Diversify")
    cited = re.split("[,:]", study.cites)[0]
    is_another = re.search(r"\(arXiv:\d{4}\.\d{5}\)", study.cites)  # beside the four
    assert cited == "Ours" if study.reading == "ours" else cited in papers or is_another
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
    arms = {line.arm for line in study.lines if line.arm}
    if not arms:
        return  # pictures, sizes, and readings of models
    controls = CLIP_CONTROLS if "clip_vanilla" in arms else CONTROLS
    if study.draws == "curves":  # how fast training goes, not how far
        controls = CONTROLS[:1]
    for start, end in controls:
        assert any(arm.startswith(start) and arm.endswith(end) for arm in arms), (start, end)
    assert any("retrieved" in line.sets and line.arm for line in study.lines)


def test_all_studies_have_been_run_and_no_other():
    folders = (ROOT / "metrics/studies").glob("*/README.md")
    recorded = {path.parent.name for path in folders}
    assert recorded in (set(), set(NAMES))  # none: before they are run again


@pytest.mark.parametrize("name", NAMES)
def test_every_control_has_been_measured_in_the_miniature(name):
    path = ROOT / "metrics/studies" / name / "points.csv"
    if not path.is_file():
        pytest.skip("the studies have not been run yet")
    with path.open() as file:
        measured = {row["row"] for row in csv.DictReader(file)}
    wanted = {line.row for line in read_study(name, FOLDER).lines if line.is_control}
    assert wanted <= measured


# Where the papers use bridged++, by their sections 4.1 (few shots, pipelines), 4.2 to 4.4.
WITH_BRIDGED_PP = ("fig2", "fig4", "fig5", "fig6", "fig8", "table2", "table3")


@pytest.mark.parametrize("name", [f"bridged-{what}" for what in WITH_BRIDGED_PP])
def test_bridged_pp_stands_beside_bridged_and_retrieved_images(name):
    lines = read_study(name, FOLDER).lines
    assert {"bridged", "bridged_pp"} <= {line.arm for line in lines}
    of_retrieved = [line for line in lines if line.sets == ["retrieved"] and line.is_control]
    assert any(line.arm == "bridged_pp" for line in of_retrieved)


# What the papers' texts say in numbers, beside their tables.
SAID = {
    "bridged-table2": ["5.5 points on Aircraft", "7.8 on Cars"],
    "bridged-fig2": ["6 to 10 %", "by over 6 %"],
    "bridged-fig4": ["60 % on 4-shot Cars"],
    "bridged-fig5": ["66, 42 and 750", "over 10 % higher on Aircraft"],
    "bridged-fig8": ["ViT-B/16 on Cars by 53 %"],
    "gap-fig2": ["23 points", "18.4 points"],
    "gap-fig3": ["85.61 - 2.23 ln(reduction)", "4.2 points"],
    "gap-ablations": ["23 points", "26.3 points"],
    "diversify-scaling": ["six times"],
}


@pytest.mark.parametrize("name", SAID)
def test_numbers_of_the_papers_text_stand_there(name):
    words = read_study(name, FOLDER).paper.words
    assert all(said in words for said in SAID[name])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("draws: table", "draws: chart", "draws is 'chart'; it should be 'table', 'figure'"),
        ("draws: table", "draws: figure", "a figure needs an axis"),
        ("arm: vanilla", "arms: vanilla", "lines.0.arms is not a known key"),
        (", arm: vanilla", "", "row 'vanilla' names either an arm or a model of probe"),
        ("draws: table", "draws: table\nagainst: b", "against is 'b'; choose from vanilla"),
        (
            "draws: table",
            "draws: table\nfits: [vanilla]",
            "fits has 'vanilla'; name rows of a figure",
        ),
        ("arm: vanilla", "arm: vanilla, against: b", "against is 'b'; choose from vanilla"),
        (
            "miniature: {}",
            'miniature: {overrides: {arms.real: {"first_{N}": []}}}',
            "'first_{N}' stands for several numbers of units; give num_units",
        ),
        ("miniature: {}", "miniature: {points: [{rows: [x]}]}", "a point has row 'x'; choose from"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path, old, new, sentence):
    write_text(tmp_path / "mine.yaml", SMALL.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_study("mine", tmp_path)
    assert sentence in str(error.value)


def test_units_are_written_out(tmp_path):
    scale = """miniature:
  num_units: 2
  overrides:
    arms.real:
      vanilla: [{train_on: real}]
      "first_{N}": [{train_on: real}, {train_on: real, frozen_units: "{N}"}]
  points:
  - {x: 1, overrides: {"arms.mixed": {"m{N}": "{N}"}}}
"""
    write_text(tmp_path / "mine.yaml", SMALL.replace("miniature: {}\n", scale))
    read = read_study("mine", tmp_path).miniature
    real = {"train_on": "real"}
    assert read.overrides == {
        "arms.real": {
            "vanilla": [real],
            "first_1": [real, {**real, "frozen_units": 1}],
            "first_2": [real, {**real, "frozen_units": 2}],
        }
    }
    assert read.points[0].overrides == {"arms.mixed": {"m1": 1, "m2": 2}}


def test_every_number_of_units_of_the_papers_network_is_there():
    full = read_study("gap-fig2", FOLDER).full
    for family, directions in (("mixed", "real"), ("bridged", "synthetic")):
        arms = full.overrides[f"arms.{family}"]
        for number in range(1, 18):
            last = arms[f"{directions}_first_{number}"][-1]
            assert last["transferred_units"] == number and "frozen_units" not in last
            assert arms[f"{directions}_kept_{number}"][-1]["frozen_units"] == number


def test_an_unknown_study_is_refused():
    with pytest.raises(ValueError, match="'gap-fig9' is no study; choose from bridged-table1"):
        read_study("gap-fig9", FOLDER)
