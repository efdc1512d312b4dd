"""Every point of every study: what it sets fits params.yaml, what it makes are stages."""

import pytest
from studies.full_scale import full_workspace, pinned

from house import ROOT
from synthbridge.core.settings import check_settings
from synthbridge.data.synthetic import check_volume
from synthbridge.params import Params
from synthbridge.pipeline import expand, needed_stages, value_at
from synthbridge.studies.definition import Point, Scale, list_studies, read_study
from synthbridge.studies.planning import (
    Keys,
    Workspace,
    points_of,
    raw_hashes,
    with_overrides,
)

FOLDER = ROOT / "studies"
WORKSPACE = Workspace(ROOT)
BASE = [
    *("bridged-table1", "bridged-table2", "bridged-table3", "bridged-table4"),
    *("bridged-fig2", "bridged-fig3", "bridged-fig9", "bridged-fig10"),
]
SMALL = {
    "stages": {
        "draw": {
            "matrix": {"set": "${sets}", "block": ["b0", "b1"]},
            "cmd": "draw ${item.set}",
            "deps": ["data/raw/x", "src/a.py"],
            "params": ["synthetic.${item.set}"],
            "outs": ["data/${item.set}/${item.block}"],
        },
        "judge": {
            "matrix": {"set": "${sets}"},
            "cmd": "judge",
            "deps": ["data/${item.set}/b0", "src/a.py"],
            "params": ["seeds"],
            "outs": ["data/models/${item.set}"],
        },
    }
}
PARAMS = {"sets": ["t", "u"], "synthetic": {"t": {"g": 1}, "u": {"g": 2}}, "seeds": [0]}


@pytest.mark.parametrize("name", list_studies(FOLDER))
def test_points_of_the_miniature_fit_the_pipeline(name):
    study = read_study(name, FOLDER)
    for point in points_of(study.miniature):
        planned = WORKSPACE.plan(study.miniature, point)
        params = check_settings(Params, dict(planned.params), "")
        assert planned.metrics
        for stage in planned.new_stages:
            if stage.startswith(("plan@", "retrieve@")):
                settings = params.set_settings(stage.split("-")[1])
                check_volume(settings.images_per_class, params.generate.images_per_block, 3)
        if planned.experiment:
            assert planned.experiment.name.startswith("study-") and planned.experiment.targets


@pytest.mark.parametrize("name", list_studies(FOLDER))
def test_every_full_definition_plans(name, tmp_path):
    """From the profile as `full.prepare` makes it to stages, settings and volumes that fit."""
    scale = pinned(read_study(name, FOLDER).full)
    workspace = full_workspace(tmp_path, scale.prepare)
    num_blocks = workspace.pipeline["vars"][0]["num_blocks"]
    for point in points_of(scale):
        planned = workspace.plan(scale, point)
        params = check_settings(Params, dict(planned.params), "")
        assert planned.metrics
        for settings in map(params.set_settings, params.sets):
            volume = params.generate.images_per_block
            check_volume(settings.images_per_class, volume, num_blocks)


@pytest.mark.parametrize("name", BASE)
def test_what_the_default_has_needs_no_experiment(name):
    study = read_study(name, FOLDER)
    plans = [WORKSPACE.plan(study.miniature, point) for point in points_of(study.miniature)]
    assert [plan.experiment for plan in plans] == [None]


def test_equal_points_of_two_studies_are_one_experiment():
    three, four = (read_study(name, FOLDER).miniature for name in ("gap-fig3", "gap-fig4"))
    first = WORKSPACE.plan(three, three.points[0]).experiment
    assert first and first == WORKSPACE.plan(four, four.points[0]).experiment
    volume, counts = (read_study(f, FOLDER).miniature for f in ("bridged-fig5", "retrieval-counts"))
    of_volume, of_counts = (_experiments(scale) for scale in (volume, counts))
    assert of_counts and of_counts <= of_volume


def _experiments(scale):
    plans = [WORKSPACE.plan(scale, point) for point in points_of(scale)]
    return {plan.experiment.name for plan in plans if plan.experiment}


def test_what_no_stage_of_the_point_reads_does_not_name_it():
    scale = Scale(targets=["finetune_real@{dataset}"])
    overrides = {"synthetic.template.guidance_scale": 9.0, "report.grid_images": 5}
    assert WORKSPACE.plan(scale, Point(overrides=overrides)).experiment is None
    one, other = (
        WORKSPACE.plan(scale, Point(overrides={"seeds": [5], **more})).experiment
        for more in ({}, overrides)
    )
    assert one and other and one.name == other.name


def test_a_point_makes_what_its_settings_reach():
    scale = Scale(targets=["finetune_bridged@{dataset}-template"])
    planned = WORKSPACE.plan(scale, Point(overrides={"stage_one.plain.num_steps": 7}))
    made = ("sift", "examine", "bridge", "finetune_bridged")  # sift may ask a stage-one model
    assert planned.new_stages == tuple(f"{stage}@digits-template" for stage in made)
    assert planned.metrics == ("metrics/digits/runs/bridged/template.json",)
    assert planned.experiment
    assert planned.experiment.options == ("stage_one.plain.num_steps=7",)


def _keys(root, params):
    (root / "src").mkdir(exist_ok=True)
    (root / "src/a.py").write_text("a")
    stages = expand(SMALL, params)
    return Keys({"data/raw/x": "h"}, root).of(stages, needed_stages(stages, stages), params)


def test_overrides_replace_whole_values_and_leave_the_rest():
    params = {"a": {"b": {"c": 1}, "d": 2}}
    changed = with_overrides(params, {"a.b": {"e": 3}, "f.g": 4})
    assert changed == {"a": {"b": {"e": 3}, "d": 2}, "f": {"g": 4}}
    assert params == {"a": {"b": {"c": 1}, "d": 2}}
    assert value_at(changed, "a.b.e") == 3 and value_at(changed, "a.d.x") is None


def test_a_key_changes_with_what_decides_it_and_with_nothing_else(tmp_path):
    before = _keys(tmp_path, PARAMS)
    assert _keys(tmp_path, {**PARAMS, "report": 1}) == before
    after = _keys(tmp_path, with_overrides(PARAMS, {"synthetic.t.g": 9}))
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"draw@t-b0", "draw@t-b1", "judge@t"}
    seeds = _keys(tmp_path, {**PARAMS, "seeds": [1]})
    assert {name for name in before if seeds[name] != before[name]} == {"judge@t", "judge@u"}


def test_a_key_changes_with_the_code(tmp_path):
    before = _keys(tmp_path, PARAMS)
    (tmp_path / "src/a.py").write_text("b")
    stages = expand(SMALL, PARAMS)
    after = Keys({"data/raw/x": "h"}, tmp_path).of(stages, needed_stages(stages, stages), PARAMS)
    assert not set(before.values()) & set(after.values())


def test_raw_data_is_known_from_the_lock():
    lock = {"stages": {"a": {"deps": [{"path": "data/raw/d", "md5": "1.dir"}, {"path": "src/a"}]}}}
    assert raw_hashes(lock) == {"data/raw/d": "1.dir"}
