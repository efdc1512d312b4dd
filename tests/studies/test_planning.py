"""Every point of every study: what it sets fits params.yaml, what it makes are stages."""

import pytest

from house import ROOT
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.data.synthetic import check_volume
from synthbridge.params import Params
from synthbridge.studies.definition import Point, Scale, list_studies, read_study
from synthbridge.studies.planning import Workspace, points_of

FOLDER = ROOT / "studies"
WORKSPACE = Workspace(ROOT)
BASE = ["bridged-table1", "bridged-table2", "bridged-table3", "bridged-table4", "bridged-fig2",
        "bridged-fig3", "bridged-fig9", "bridged-fig10"]  # fmt: skip


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
def test_settings_of_the_full_scale_fit_the_papers_profile(name):
    from synthbridge.studies.pipeline import with_overrides
    from synthbridge.studies.planning import for_datasets

    profile = read_yaml(ROOT / "profiles/paper.yaml")
    for model in ("generator", "backbone"):
        profile["upstream"][model]["revision"] = "0" * 40
    study = read_study(name, FOLDER)
    for point in points_of(study.full):
        overrides = {**study.full.overrides, **point.overrides}
        if any(key.split(".")[0] in ("retrieved", "clip_tuning") for key in overrides):
            continue  # these need a pool or a CLIP, which a person names first
        params = with_overrides(profile, for_datasets(overrides, profile["datasets"]))
        for model in ("generator", "backbone"):
            params["upstream"][model]["revision"] = "0" * 40
        check_settings(Params, params, "")


@pytest.mark.parametrize("name", BASE)
def test_what_the_default_has_needs_no_experiment(name):
    study = read_study(name, FOLDER)
    plans = [WORKSPACE.plan(study.miniature, point) for point in points_of(study.miniature)]
    assert [plan.experiment for plan in plans] == [None]


def test_equal_points_of_two_studies_are_one_experiment():
    three, four = (read_study(name, FOLDER).miniature for name in ("gap-fig3", "gap-fig4"))
    first = WORKSPACE.plan(three, three.points[0]).experiment
    assert first and first == WORKSPACE.plan(four, four.points[0]).experiment
    volume, counts = (read_study(f, FOLDER).miniature for f in ("bridged-fig4", "retrieval-counts"))
    names = [
        {plan.experiment.name for point in points_of(scale)
         if (plan := WORKSPACE.plan(scale, point)).experiment}
        for scale in (volume, counts)
    ]  # fmt: skip
    assert names[1] <= names[0]


def test_what_no_stage_of_the_point_reads_does_not_name_it():
    scale = Scale(targets=["finetune_real@{dataset}"])
    overrides = {"synthetic.template.guidance_scale": 9.0, "report.seed": 5}
    assert WORKSPACE.plan(scale, Point(overrides=overrides)).experiment is None
    one, other = (
        WORKSPACE.plan(scale, Point(overrides={"seeds": [5], **more})).experiment
        for more in ({}, overrides)
    )
    assert one and other and one.name == other.name


def test_a_point_makes_what_its_settings_reach():
    scale = Scale(targets=["finetune_bridged@{dataset}-template"])
    planned = WORKSPACE.plan(scale, Point(overrides={"stage_one.plain.num_steps": 7}))
    assert planned.new_stages == ("bridge@digits-template", "finetune_bridged@digits-template")
    assert planned.metrics == ("metrics/digits/runs/bridged/template.json",)
    assert planned.experiment
    assert planned.experiment.options == ("stage_one.plain.num_steps=7",)
