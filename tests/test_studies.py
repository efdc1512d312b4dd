"""Studies through real `dvc` commands on a tiny setting: killed, continued, shared, run twice."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from scratch import clone_working_tree

from synthbridge.core.files import read_json

STUDY = """
title: A tiny study
cites: none
reading: reconstruction
question: Does it run?
draws: figure
axis: epochs
against: vanilla
lines:
- {{row: vanilla, arm: vanilla}}
- {{row: synthetic only, arm: synthetic_only, sets: [template], is_control: true}}
- {{row: bridged, arm: bridged, sets: [template]}}
miniature:
  targets: ["finetune_bridged@{{dataset}}-template"]
  overrides:
    arms.bridged:
      synthetic_only: [{{stage_one: plain}}]
      bridged: [{{stage_one: plain}}, {{train_on: real}}]
    stage_one.plain.num_steps: 4
  reference: {{targets: ["finetune_real@{{dataset}}"], overrides: {{stage_one.plain.num_steps: 3}}}}
  points:
{points}
full: {{}}
paper: {{words: Nothing.}}
"""
ANALYSIS = """
title: An analysis
cites: none
reading: reconstruction
question: Why?
draws: analysis
miniature: {}
full: {}
paper: {words: Nothing.}
"""
POINT = "  - {{x: {0}, overrides: {{real_leg.num_epochs_few_shot: {0}}}}}\n"
SETS = {
    "sets": ["template"],
    "generated_sets": ["template"],
    "retrieved_sets": [],
    "report.primary.method": "template",
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A clone with one set and two studies that share a point, reproduced and committed."""
    scratch = clone_working_tree(tmp_path_factory.mktemp("studies") / "clone")
    scratch.change(SETS)
    scratch.run(sys.executable, "src", "sets")
    for name, epochs in (("first", (2, 3)), ("second", (3, 5))):
        points = "".join(POINT.format(count) for count in epochs)
        (scratch.folder / f"studies/{name}.yaml").write_text(STUDY.format(points=points))
    (scratch.folder / "studies/why.yaml").write_text(ANALYSIS)
    scratch.dvc("repro")
    scratch.commit()
    return scratch


def _study(scratch, *arguments):
    return scratch.run(sys.executable, "src", "study", *arguments)


def _experiments(scratch):
    names = scratch.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/study-*")
    return sorted(names.split())


def _kill_in_the_middle(scratch):
    """Start the first study and kill all of it once a stage-one model is trained."""
    before = scratch.units("bridge")
    process = subprocess.Popen(
        [sys.executable, "src", "study", "first", "--jobs", "2"],
        cwd=scratch.folder,
        env=scratch.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while len(scratch.units("bridge")) == len(before):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return before


def test_studies_go_on_after_a_kill_share_their_points_and_run_once(scratch):
    printed = _study(scratch, "first", "second", "--list")
    assert re.search(r"first +3 +2 ", printed) and re.search(r"second +3 +1 ", printed)
    assert _experiments(scratch) == []

    before = _kill_in_the_middle(scratch)
    kept = scratch.units("bridge")
    assert len(kept) > len(before) and _experiments(scratch) == []

    _study(scratch, "first", "--jobs", "2")
    first = _experiments(scratch)
    assert len(first) == 2
    models = scratch.units("bridge")
    assert kept.items() <= models.items() and len(models) == len(before) + 2  # one a seed
    assert not list((scratch.folder / ".dvc/tmp/exps/standalone").glob("tmp*"))

    printed = _study(scratch, "second")
    assert "study: 1 experiments, " in printed and scratch.units("bridge") == models
    assert len(_experiments(scratch)) == 3 and set(first) <= set(_experiments(scratch))

    units = scratch.units("finetune")
    drawn = {path: path.read_bytes() for path in (scratch.folder / "metrics/studies").rglob("*.*")}
    printed = _study(scratch, "first", "second")
    assert re.search(r"first +3 +0 ", printed) and "experiments, " not in printed
    assert scratch.units("finetune") == units and len(_experiments(scratch)) == 3
    assert drawn == {path: path.read_bytes() for path in drawn}

    with (scratch.folder / "metrics/studies/first/points.csv").open() as file:
        rows = list(csv.DictReader(file))
    bridged = {row["x"]: row for row in rows if row["row"] == "bridged"}
    assert set(bridged) == {"2", "3"}
    assert {row["experiment"] for row in rows if row["row"] == "vanilla"} == {"workspace"}
    for row in bridged.values():
        where = f"{row['commit']}:metrics/digits/runs/bridged/template.json"
        assert '"top1"' in scratch.git("show", where)
        record = read_json(scratch.folder / f"metrics/studies/points/{row['experiment']}.json")
        assert record["commit"] == row["commit"]
    assert (
        "Scale: **miniature**" in (scratch.folder / "metrics/studies/first/README.md").read_text()
    )


def test_an_analysis_reads_what_the_pipeline_has_left(scratch):
    printed = _study(scratch, "why")
    folder = scratch.folder / "metrics/studies/why"
    page = (folder / "README.md").read_text()
    assert "drawn: metrics/studies/why/README.md" in printed and "![An analysis]" in page
    assert "### digits, template; runs with 1 shot" in page
    (row,) = (line for line in page.splitlines() if line.startswith("| three |"))
    _, *accuracies, precision, _recall, score, images, harmful = row.strip("| ").split(" | ")
    assert all(0 <= float(value) <= 100 for value in (*accuracies, harmful))
    assert (precision, images) == ("\N{EN DASH}", "2") and -1 <= float(
        score
    ) <= 1  # too few for precision
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    before = (page, (folder / "figure.png").read_bytes())
    _study(scratch, "why")
    assert before == ((folder / "README.md").read_text(), (folder / "figure.png").read_bytes())


def test_a_change_that_git_has_not_kept_stops_a_study_before_it_runs(scratch):
    params = scratch.folder / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("momentum: 0.9", "momentum: 0.8"))
    printed = scratch.run(sys.executable, "src", "study", "first", ok=False)
    assert "study: git has not kept the changes of params.yaml; commit them first" in printed
    params.write_text(text)
