"""What stage-one models are trained on and with, on disk."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from quarters import source_mean, training_settings, write_world
from synthbridge.core.files import read_json
from synthbridge.stages.bridge import BridgeParams, bridge
from synthbridge.training.settings import StageOneSettings

STAGE_ONE = {"plain": StageOneSettings(num_steps=2, learning_rate=0.01, mixup=0.0)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def work(world, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(world / "work"))


def _bridge(world, out, seeds=(0,), **changes):
    bridge(
        BridgeParams(STAGE_ONE, training_settings(weight_decay=0.0, **changes), seeds),
        real=world / "real",
        backbone=world / "backbone",
        blocks=[world / "set/b0"],
        out=out,
    )
    return read_json(out / "plain/s0.json")


def test_the_backbones_statistics_leave_no_trace_in_a_record(world, tmp_path):
    record = _bridge(world, tmp_path)
    assert set(record) == {"num_steps", "num_images", "curve"}
    assert (record["num_steps"], record["num_images"]) == (2, 12)


@pytest.mark.parametrize("source", ["real", "synthetic"])
def test_statistics_are_measured_on_what_the_settings_name(world, tmp_path, source):
    record = _bridge(world, tmp_path, normalisation=source)
    # Real: the first shot of each class, which runs of any number of shots may see.
    real, synthetic = source_mean("real", 8, 5, slice(4)), source_mean("synthetic", 12, 1)
    expected = real if source == "real" else synthetic
    assert np.allclose(record["normalisation"]["mean"], expected, atol=1e-6)


def test_a_random_start_trains_other_models(world, tmp_path):
    weights = []
    for start in ("backbone", "random"):
        _bridge(world, tmp_path / start, start=start)
        weights.append(load_file(tmp_path / start / "plain/s0.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    first, other = (model["layer1.0.conv1.weight"] for model in weights)
    assert not torch.allclose(first, other, atol=0.01)


def test_every_seed_has_its_model_and_trains_it_once(world, tmp_path):
    _bridge(world, tmp_path / "first", seeds=(0, 1))
    models = sorted((tmp_path / "first/plain").glob("*.safetensors"))
    assert [path.stem for path in models] == ["s0", "s1"]
    assert models[0].read_bytes() != models[1].read_bytes()
    units = {path: path.stat().st_mtime_ns for path in (world / "work").rglob("model.safetensors")}
    _bridge(world, tmp_path / "again", seeds=(0, 1))
    assert {path: path.stat().st_mtime_ns for path in units} == units
    for path in models:
        assert (tmp_path / "again/plain" / path.name).read_bytes() == path.read_bytes()


def test_a_length_in_epochs_is_the_same_for_any_number_of_images(world, tmp_path, monkeypatch):
    """Four classes of five images, three times, in batches of eight: 7.5 steps, so 8."""
    plain = StageOneSettings(num_epochs=3, images_per_class=5, learning_rate=0.01, mixup=0.0)
    monkeypatch.setitem(STAGE_ONE, "plain", plain)
    record = _bridge(world, tmp_path)
    assert (record["num_steps"], record["num_images"]) == (8, 12)
