import json

import pytest
import timm
import torch
from timm.models import save_for_hf

from quarters import make_images
from synthbridge.core.files import read_json, write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.evidence.settings import ReportSettings
from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune
from synthbridge.stages.report import report
from synthbridge.stages.select import RECORD, VANILLA, SelectParams, Trial, choose_rate, select
from synthbridge.training.settings import RealLegSettings, TrainingSettings

CLASS_NAMES = ["one", "two", "three", "four"]


def _trials(tmp_path, accuracies):
    trials = []
    for rate, values in accuracies.items():
        for seed, value in enumerate(values):
            path = tmp_path / f"{rate}-{seed}"
            write_json(path / RECORD, {"accuracy": value})
            trials.append(Trial(4, seed, rate, path))
    return [*trials, Trial("full", 0, 9.0, tmp_path / "never-read")]


def test_the_best_mean_wins_and_of_equals_the_first(tmp_path):
    trials = _trials(tmp_path, {0.1: [0.9, 0.1], 0.03: [0.6, 0.5], 0.01: [0.5, 0.6]})
    assert choose_rate(trials, 4, "validation") == {
        "learning_rate": 0.03,
        "held_out_accuracy": {"0.1": 0.5, "0.03": 0.55, "0.01": 0.55},
    }


def test_accuracies_bear_the_name_of_the_split_that_judged(tmp_path):
    trials = _trials(tmp_path, {0.1: [0.9], 0.03: [0.6]})
    assert choose_rate(trials, 4, "test") == {
        "learning_rate": 0.1,
        "test_accuracy": {"0.1": 0.9, "0.03": 0.6},
    }


def test_rates_that_all_diverge_are_refused(tmp_path):
    with pytest.raises(ValueError, match="4 shots diverged at every rate of"):
        choose_rate(_trials(tmp_path, {0.1: [None], 0.3: [None]}), 4, "validation")


def test_an_honest_nought_is_no_divergence(tmp_path):
    """Three held-out images may all be read wrongly; a rate that diverged is never chosen."""
    trials = _trials(tmp_path, {0.1: [None], 0.3: [0.0]})
    chosen = choose_rate(trials, 4, "validation")
    assert chosen == {"learning_rate": 0.3, "held_out_accuracy": {"0.1": 0.0, "0.3": 0.0}}


def _write_split(folder, split, count, seed, shift=0):
    """Write images of which anything learns the class, under labels `shift` further on."""
    images = make_images(count, seed=seed)
    samples = [
        {"__key__": f"{split}{index}", "png": encode_png(image.permute(1, 2, 0).numpy()),
         "cls": (int(label) + shift) % 4, "json": {"name": f"{split}{index}"}}
        for index, (image, label) in enumerate(zip(images.images, images.labels, strict=True))
    ]  # fmt: skip
    write_shard(folder / f"{split}-00000.tar", samples)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set whose test labels are all wrong, so that to learn nothing is best there."""
    root = tmp_path_factory.mktemp("world")
    real = root / "digits"
    _write_split(real, "train", 32, seed=0)
    _write_split(real, "validation", 16, seed=1)
    _write_split(real, "test", 16, seed=2, shift=1)
    counts = {"train": 32, "validation": 16, "test": 16}
    facts = {"class_names": CLASS_NAMES, "image_size": 16, "flip": False, "counts": counts}
    write_json(real / "dataset.json", facts)
    write_json(real / "few_shot.json", [])
    torch.manual_seed(0)
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 16, 16]}
    save_for_hf(timm.create_model("test_resnet", num_classes=5), str(root / "backbone"),
                model_config={"pretrained_cfg": config}, safe_serialization=True)  # fmt: skip
    return root


def _run(world, out, split, monkeypatch):
    """Select, fine-tune and report."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(world / "work"))
    training = TrainingSettings(batch_size=8, momentum=0.9, weight_decay=0, image_size=16,
                                resize_size=16, min_crop_area=0.8, max_stretch=1.1,
                                augment=True, normalisation="backbone", start="backbone",
                                frozen_norm="eval")  # fmt: skip
    real_leg = RealLegSettings(learning_rates=[0.05, 1e-6], select_on=split, num_epochs=6,
                               num_epochs_few_shot=1)  # fmt: skip
    real, backbone, rates = world / "digits", world / "backbone", out / "rates.json"
    select(SelectParams(real_leg, training, ["full"], [0]), real=real, backbone=backbone, out=rates)
    finetune(
        FinetuneParams({"vanilla": VANILLA}, ["full"], [0], training, real_leg, {}),
        FinetuneInputs(real, backbone, rates),
        labels={"dataset": "digits", "set": None, "method": "real"},
        models=out / "models",
        results=out / "results",
    )
    settings = ReportSettings(primary_arm="vanilla", measure="top1", smallest_gain=1.0, seed=0,
                              confidence=0.95, num_resamples=100, grid_classes=2,
                              grid_images=1)  # fmt: skip
    report(settings, final=[out / "results"], out=out / "metrics")
    return read_json(rates)["full"], read_json(out / "results/vanilla/full-s0.json")


def _written(out):
    kinds = ("*.json", "*.csv", "*.html")
    return "".join(path.read_text() for kind in kinds for path in sorted(out.rglob(kind)))


def test_held_out_images_select_and_nothing_says_test(world, tmp_path, monkeypatch, capsys):
    chosen, record = _run(world, tmp_path, "validation", monkeypatch)
    assert chosen["learning_rate"] == 0.05 and chosen["held_out_accuracy"]["0.05"] > 0.9
    assert record["learning_rate"] == 0.05 and record["top1"] < 0.1
    assert record["selection"] == chosen["held_out_accuracy"] and "selected_on" not in record
    written = _written(tmp_path)
    assert "selected_on" not in written and "selected on test" not in written
    assert "test images (real_leg" not in capsys.readouterr().out


def test_test_images_select_only_when_asked_and_everything_says_so(
    world, tmp_path, monkeypatch, capsys
):
    chosen, record = _run(world, tmp_path, "test", monkeypatch)
    assert set(chosen) == {"learning_rate", "test_accuracy"}
    assert chosen["learning_rate"] == 1e-6  # what learns the right labels fails on these
    assert chosen["test_accuracy"]["1e-06"] == record["top1"] > chosen["test_accuracy"]["0.05"]
    assert record["selection"] == chosen["test_accuracy"] and record["selected_on"] == "test"
    metrics = tmp_path / "metrics"
    assert set(json.loads((metrics / "summary.json").read_text())["digits"]) == {
        "accuracy_selected_on_test"
    }
    row = (metrics / "accuracy.csv").read_text().splitlines()[1]
    assert row.endswith("digits real vanilla (learning rate selected on test images),test")
    assert "judged on test images (real_leg.select_on)" in capsys.readouterr().out
