"""Which statistics and views a run's inputs are made with, on disk and through the stages."""

import numpy as np
import pytest
import timm
import torch
from timm.models import save_for_hf

from quarters import make_images
from synthbridge.core.files import read_json, write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.stages.bridge import bridge
from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune
from synthbridge.training.images import Augmentation, Normalisation, WholeView
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.training.trainings import make_recipe

STAGE_ONE = {"plain": StageOneSettings(num_steps=2, learning_rate=0.01, mixup=0.0)}
SHIFTS = {"real": 0, "synthetic": 40}  # grey levels, to tell their means apart


def _settings(**changes):
    values = dict(batch_size=8, momentum=0.9, weight_decay=0.0, image_size=16, resize_size=16,
                  min_crop_area=0.8, max_stretch=1.1, augment=True, normalisation="backbone",
                  start="backbone", frozen_norm="eval")  # fmt: skip
    return TrainingSettings(**{**values, **changes})


def _pixels(source, count, seed):
    images = make_images(count, seed=seed)
    return images.images.clamp(max=200) + SHIFTS[source], images.labels


def _write(path, source, count, seed):
    pixels, labels = _pixels(source, count, seed)
    samples = [
        {"__key__": f"{path.stem}{i}", "png": encode_png(image.permute(1, 2, 0).numpy()),
         "cls": int(label), "json": {"name": f"{path.stem}{i}"}}
        for i, (image, label) in enumerate(zip(pixels, labels, strict=True))
    ]  # fmt: skip
    write_shard(path, samples)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A backbone, a data set of eight training images with rankings, and a synthetic set."""
    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 8), ("validation", 4), ("test", 4)):
        _write(root / f"real/{split}-00000.tar", "real", count, seed=len(split))
    ranking = [[f"train-00000{label}", f"train-00000{label + 4}"] for label in range(4)]
    counts = {"train": 8, "validation": 4, "test": 4}
    facts = {"class_names": list("abcd"), "image_size": 16, "flip": True, "counts": counts}
    write_json(root / "real/dataset.json", facts)
    write_json(root / "real/few_shot.json", [ranking])
    _write(root / "set/b0/all-00000.tar", "synthetic", 12, seed=1)
    write_json(root / "rates.json", {str(k): {"learning_rate": 0.01, "held_out_accuracy": {}}
                                     for k in (1, 2, "full")})  # fmt: skip
    torch.manual_seed(7)
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 16, 16]}
    save_for_hf(timm.create_model("test_resnet", num_classes=5), str(root / "backbone"),
                model_config={"pretrained_cfg": config}, safe_serialization=True)  # fmt: skip
    return root


@pytest.fixture(autouse=True)
def work(world, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(world / "work"))


def _bridge(world, out, settings):
    bridge(STAGE_ONE, settings, [0], real=world / "real", backbone=world / "backbone",
           blocks=[world / "set/b0"], out=out)  # fmt: skip
    return read_json(out / "plain/s0.json")


def _finetune(world, out, settings, leg, shots, **inputs):
    legs = [LegSettings(**values) for values in leg]
    real_leg = RealLegSettings(learning_rates=[0.01], select_on="validation", num_epochs=1,
                               num_epochs_few_shot=1)  # fmt: skip
    finetune(
        FinetuneParams({"mine": legs}, [shots], [0], settings, real_leg, STAGE_ONE),
        FinetuneInputs(world / "real", world / "backbone", world / "rates.json", **inputs),
        labels={"dataset": "d", "set": "set", "method": "set"}, models=out / "m", results=out / "r",
    )  # fmt: skip
    return read_json(out / f"r/mine/{shots}-s0.json")


def _mean(source, count, seed, rows=slice(None)):
    return _pixels(source, count, seed)[0][rows].numpy().mean((0, 2, 3)) / 255


def test_the_recipe_is_what_the_settings_say(world):
    recipe = make_recipe(_settings(), world / "backbone", flip=True)
    assert recipe.augmentation == Augmentation(0.8, 1.1, flip=True)
    assert recipe.normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    plain = make_recipe(_settings(augment=False), world / "backbone", flip=True)
    assert plain.augmentation == WholeView(16)


def test_the_backbones_statistics_leave_no_trace_in_records(world, tmp_path):
    assert set(_bridge(world, tmp_path, _settings())) == {"num_steps", "num_images", "curve"}
    record = _finetune(world, tmp_path, _settings(), [{"train_on": "real"}], "full")
    assert "normalisation" not in record


def test_real_statistics_are_those_of_the_runs_own_images(world, tmp_path):
    settings = _settings(normalisation="real")
    for shots, rows in ((1, slice(4)), ("full", slice(None))):
        record = _finetune(world, tmp_path, settings, [{"train_on": "real"}], shots)
        assert np.allclose(record["normalisation"]["mean"], _mean("real", 8, 5, rows), atol=1e-6)


def test_synthetic_statistics_are_those_of_the_set(world, tmp_path):
    settings, blocks = _settings(normalisation="synthetic"), [world / "set/b0"]
    expected = _mean("synthetic", 12, 1)
    for leg in ({"train_on": "mixed", "auxiliary_norm": True}, {"train_on": "synthetic"},
                {"train_on": "real"}):  # fmt: skip
        record = _finetune(world, tmp_path, settings, [leg], "full", blocks=blocks)
        assert np.allclose(record["normalisation"]["mean"], expected, atol=1e-6)
    alone = _finetune(world, tmp_path, settings, [{"train_on": "real"}], "full")
    assert alone["normalisation"]["mean"] == [0.5] * 3  # nothing to measure: the backbone's


@pytest.mark.parametrize("source", ["real", "synthetic"])
def test_a_bridged_arm_keeps_the_statistics_of_its_stage_one(world, tmp_path, source):
    settings = _settings(normalisation=source)
    record = _bridge(world, tmp_path / "one", settings)
    # Real: the first shot of each class, which runs of any number of shots may see.
    expected = _mean("real", 8, 5, slice(4)) if source == "real" else _mean("synthetic", 12, 1)
    assert np.allclose(record["normalisation"]["mean"], expected, atol=1e-6)
    legs = [{"stage_one": "plain"}, {"train_on": "real"}]
    final = _finetune(world, tmp_path, settings, legs, 2, stage_one=tmp_path / "one")
    assert final["normalisation"] == record["normalisation"]


def test_a_random_start_trains_other_models(world, tmp_path):
    from safetensors.torch import load_file

    weights = []
    for start in ("backbone", "random"):
        _bridge(world, tmp_path / start, _settings(start=start))
        weights.append(load_file(tmp_path / start / "plain/s0.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert not torch.allclose(weights[0]["layer1.0.conv1.weight"],
                              weights[1]["layer1.0.conv1.weight"], atol=0.01)  # fmt: skip


def test_an_arm_beyond_the_model_is_refused_before_any_run(world, tmp_path):
    with pytest.raises(ValueError, match=r"arm 'mine', leg 1: frozen_units is 9, but the model"):
        legs = [{"train_on": "real", "frozen_units": 9}]
        _finetune(world, tmp_path, _settings(), legs, "full")
    assert not (tmp_path / "r").exists()
