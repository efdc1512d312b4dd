"""What final models start from and are trained with, on disk."""

import numpy as np
import pytest

from quarters import make_source, source_mean, training_settings, write_images, write_world
from synthbridge.core.files import read_json
from synthbridge.stages.bridge import BridgeParams, bridge
from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings

STAGE_ONE = {"plain": StageOneSettings(num_steps=2, learning_rate=0.01, mixup=0.0)}
REAL_LEG = RealLegSettings(
    learning_rates=[0.01], select_on="validation", num_epochs=1, num_epochs_few_shot=1
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def work(world, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(world / "work"))


def _settings(**changes):
    return training_settings(weight_decay=0.0, **changes)


def _finetune(world, out, settings, legs, shots, **inputs):
    arms = {"mine": [LegSettings(**leg) for leg in legs]}
    finetune(
        FinetuneParams(arms, [shots], [0], settings, REAL_LEG, STAGE_ONE),
        FinetuneInputs(world / "real", world / "backbone", world / "rates.json", **inputs),
        labels={"dataset": "d", "set": "set", "method": "set"},
        models=out / "m",
        results=out / "r",
    )
    return read_json(out / f"r/mine/{shots}-s0.json")


def test_the_backbones_statistics_leave_no_trace_in_a_record(world, tmp_path):
    record = _finetune(world, tmp_path, _settings(), [{"train_on": "real"}], "full")
    assert "normalisation" not in record


def test_real_statistics_are_those_of_the_runs_own_images(world, tmp_path):
    settings = _settings(normalisation="real")
    for shots, rows in ((1, slice(4)), ("full", slice(None))):
        record = _finetune(world, tmp_path, settings, [{"train_on": "real"}], shots)
        expected = source_mean("real", 8, 5, rows)
        assert np.allclose(record["normalisation"]["mean"], expected, atol=1e-6)


def test_synthetic_statistics_are_those_of_the_set(world, tmp_path):
    settings, blocks = _settings(normalisation="synthetic"), [world / "set/b0"]
    expected = source_mean("synthetic", 12, 1)
    mixed = {"train_on": "mixed", "auxiliary_norm": True}
    for leg in (mixed, {"train_on": "synthetic"}, {"train_on": "real"}):
        record = _finetune(world, tmp_path, settings, [leg], "full", blocks=blocks)
        assert np.allclose(record["normalisation"]["mean"], expected, atol=1e-6)
    alone = _finetune(world, tmp_path, settings, [{"train_on": "real"}], "full")
    assert alone["normalisation"]["mean"] == [0.5] * 3  # nothing to measure: the backbone's


@pytest.mark.parametrize("source", ["real", "synthetic"])
def test_a_bridged_arm_keeps_the_statistics_of_its_stage_one(world, tmp_path, source):
    settings = _settings(normalisation=source)
    bridge(
        BridgeParams(STAGE_ONE, settings, [0]),
        real=world / "real",
        backbone=world / "backbone",
        blocks=[world / "set/b0"],
        out=tmp_path / "one",
    )
    record = read_json(tmp_path / "one/plain/s0.json")
    legs = [{"stage_one": "plain"}, {"train_on": "real"}]
    final = _finetune(world, tmp_path, settings, legs, 2, stage_one=tmp_path / "one")
    assert final["normalisation"] == record["normalisation"]


def test_an_arm_beyond_the_model_is_refused_before_any_run(world, tmp_path):
    with pytest.raises(ValueError, match=r"arm 'mine', leg 1: frozen_units is 9, but the model"):
        legs = [{"train_on": "real", "frozen_units": 9}]
        _finetune(world, tmp_path, _settings(), legs, "full")
    assert not (tmp_path / "r").exists()


def test_predictions_are_those_that_the_record_counts(world, tmp_path):
    record = _finetune(world, tmp_path, _settings(), [{"train_on": "real"}], "full")
    with np.load(tmp_path / "r/mine/full-s0.npz") as predictions:
        right = predictions["probabilities"].argmax(1) == predictions["labels"]
        assert "groups" not in predictions
    assert record["top1"] == right.mean() and len(right) == 4
    assert (record["num_train"], record["gradient_steps"]) == (8, 1)


def test_predictions_number_the_groups_of_the_test_images(tmp_path):
    world = write_world(tmp_path / "world")
    test = make_source("real", 4, seed=4)
    write_images(world / "real/test-00000.tar", test, ["b", "a", "b", "c"])
    _finetune(world, tmp_path, _settings(), [{"train_on": "real"}], "full")
    with np.load(tmp_path / "r/mine/full-s0.npz") as predictions:
        assert predictions["groups"].dtype == np.int32
        assert predictions["groups"].tolist() == [0, 1, 0, 2]
