import numpy as np
import pytest
import torch
from accelerate import Accelerator

from quarters import make_images, training_settings, write_backbone, write_dataset
from synthbridge.core.files import read_json, write_json
from synthbridge.data.real import read_dataset
from synthbridge.data.synthetic import NamedSet
from synthbridge.stages import probe as stage
from synthbridge.stages.probe import ProbeParams, Prober, probe, probe_backbone, probe_stage_one
from synthbridge.training.accuracy import top1
from synthbridge.training.classifier import load_backbone, save_classifier
from synthbridge.training.cues import one_cue_sets
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import make_recipe
from synthbridge.training.settings import ProbeSettings
from synthbridge.training.team import Team


@pytest.fixture(scope="module")
def team():
    return Team(Accelerator(cpu=True), rank=0, size=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory, team):
    """A data set, a backbone, and a stage-one model that reads it, of other statistics."""
    root = tmp_path_factory.mktemp("world")
    splits = ("train", "validation", "test")
    write_dataset(root / "real", {split: make_images(24, seed=len(split)) for split in splits})
    write_backbone(root / "backbone")
    settings = training_settings(weight_decay=0.0, augment=False, normalisation="real")
    recipe = make_recipe(settings, root / "backbone", flip=False)
    model = load_backbone(root / "backbone", num_classes=4, seed=0)
    leg = Leg(num_steps=40, learning_rate=0.05, seed=0)
    train(model, make_images(24, seed=5), recipe, leg, team)
    save_classifier(model, root / "one/plain/s0.safetensors")
    statistics = {"mean": [0.5] * 3, "std": [0.25] * 3}
    write_json(root / "one/plain/s0.json", {"normalisation": statistics})
    write_json(root / "one/dark/s0.json", {"normalisation": {**statistics, "mean": [50.0] * 3}})
    save_classifier(model, root / "one/dark/s0.safetensors")
    return root, recipe, model


def _values(world, team, name, cues):
    root, recipe, _ = world
    prober = Prober(
        read_dataset(root / "real"), recipe, team, learning_rates=(0.1, 0.01), num_epochs=20
    )
    if cues:
        prober.add_cues()
    rows = probe_stage_one(prober, root / "backbone", root / f"one/{name}")
    assert {(row["model"], row["seed"]) for row in rows} == {(name, 0)}
    return {row["measure"]: row["value"] for row in rows}


def test_cues_are_measured_only_where_asked_for(world, team):
    plain = _values(world, team, "plain", cues=False)
    fixed = {"fixed_feature_accuracy", "fixed_feature_own_head_accuracy"}
    assert set(plain) == {"leep", "logme"} | fixed
    cued = _values(world, team, "plain", cues=True)
    assert {**cued, **plain} == cued
    _, recipe, model = world
    for cue, images in one_cue_sets(make_images(24, seed=4), seed=0):
        expected = top1(predict(model, images, recipe, team), np.arange(24) % 4)
        assert cued[f"{cue}_accuracy"] == expected
    # The class is a bright quarter: a shape, which blur leaves and shuffling destroys.
    assert cued["shape_accuracy"] > 0.9 > 0.6 > cued["texture_accuracy"]


def test_a_stage_one_model_is_read_with_its_own_statistics(world, team):
    """With statistics that darken every input the same weights read nothing."""
    dark = _values(world, team, "dark", cues=True)
    assert dark["shape_accuracy"] < 0.5 and torch.isfinite(torch.tensor(dark["leep"]))


def test_linear_heads_read_a_model_that_has_learned_the_task(world, team):
    plain = _values(world, team, "plain", cues=False)
    assert plain["fixed_feature_accuracy"] > 0.9 and plain["fixed_feature_own_head_accuracy"] > 0.9


def test_the_backbone_has_a_spread_over_seeds(world, team):
    root, recipe, _ = world
    prober = Prober(
        read_dataset(root / "real"), recipe, team, learning_rates=(0.1, 0.01), num_epochs=20
    )
    rows = probe_backbone(prober, root / "backbone", [0, 1, 2])
    fixed = {row["seed"]: row["value"] for row in rows if row["measure"].startswith("fixed")}
    assert set(fixed) == {0, 1, 2} and all(0 <= value <= 1 for value in fixed.values())
    assert {row["seed"] for row in rows if row["measure"] == "leep"} == {None}


def _probe(world, out):
    root, recipe, _ = world
    params = ProbeParams(
        probe=ProbeSettings(cues=False, num_epochs=2),
        training=recipe.settings,
        learning_rates=[0.1],
        seeds=[0, 1],
        sets={"one": NamedSet("one", None)},
    )
    probe(
        params,
        dataset="quarters",
        real=root / "real",
        backbone=root / "backbone",
        stage_one=[root / "one"],
        out=out / "rows.json",
        metrics=out / "metrics.json",
    )
    return [(out / name).read_bytes() for name in ("rows.json", "metrics.json")]


def test_the_last_digits_of_another_cpu_give_the_same_file(world, tmp_path, monkeypatch):
    here = _probe(world, tmp_path / "here")
    for name in ("leep", "logme"):
        measure = getattr(stage, name)
        monkeypatch.setattr(stage, name, lambda *given, own=measure: own(*given) * (1 + 1e-13))
    assert _probe(world, tmp_path / "there") == here
    rows = read_json(tmp_path / "here/rows.json")
    measures = {row["measure"] for row in rows if row["model"] == "plain"}
    assert {"leep", "logme", "fixed_feature_accuracy"} <= measures


@pytest.mark.parametrize(("rates", "chosen_by"), [((0.1, 0.01), "validation"), ((0.1,), "nothing")])
def test_accuracies_of_heads_say_what_chose_their_rate(world, team, rates, chosen_by):
    root, recipe, _ = world
    dataset = read_dataset(root / "real")
    prober = Prober(dataset, recipe, team, learning_rates=rates, num_epochs=1)
    rows = probe_stage_one(prober, root / "backbone", root / "one/plain")
    rows += probe_backbone(prober, root / "backbone", [0])
    for row in rows:
        is_of_heads = row["measure"].startswith("fixed_feature")
        assert row.get("selected_on") == (chosen_by if is_of_heads else None), row
