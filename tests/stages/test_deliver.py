"""Which model is delivered, and what its card says."""

import dataclasses
import re
import shutil

import numpy as np
import onnxruntime
import pytest
import timm
from timm.data import create_transform, resolve_data_config

from delivered_model import SEEDS, changed, make_study, run_deliver, write_study
from synthbridge.core.files import read_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import read_image
from synthbridge.delivery.model import read_model
from synthbridge.delivery.onnx_file import TOLERANCE
from synthbridge.delivery.settings import DeliverSettings
from synthbridge.stages.deliver import DeliverInputs, deliver
from synthbridge.training.team import Team


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Final models where test images prefer the arm that learns nothing."""
    return make_study(tmp_path_factory, shift_test=1)


@pytest.fixture(scope="module")
def delivered(study, tmp_path_factory):
    return run_deliver(*study, tmp_path_factory.mktemp("out") / "quarters")


def _top1(root, arm):
    records = [read_json(root / f"results/real/{arm}/full-s{seed}.json") for seed in SEEDS]
    return [record["top1"] for record in records]


def test_held_out_images_choose_and_test_images_do_not(study, delivered):
    root, _ = study
    choice = read_json(delivered / "choice.json")
    assert np.mean(_top1(root, "vanilla")) < np.mean(_top1(root, "hardly"))
    assert (choice["arm"], choice["set"], choice["shots"]) == ("vanilla", None, "full")
    held_out = {read["arm"]: read["held_out"] for read in choice["candidates"]}
    assert held_out["vanilla"] > 90 > held_out["hardly"]


def test_the_median_seed_is_delivered(study, delivered):
    root, _ = study
    choice = read_json(delivered / "choice.json")
    seed = choice["seed"]
    weights = (root / f"models/real/vanilla/full-s{seed}.safetensors").read_bytes()
    assert (delivered / "model.safetensors").read_bytes() == weights
    record = read_json(root / f"results/real/vanilla/full-s{seed}.json")
    assert choice["test"]["accuracy"] == pytest.approx(100 * record["top1"], abs=1e-4)
    assert choice["test"]["low"] <= choice["test"]["accuracy"] <= choice["test"]["high"]


def test_a_second_run_gives_the_same_bytes(study, delivered, tmp_path):
    again = run_deliver(*study, tmp_path / "again")
    assert changed(delivered, again) == set()
    names = {path.name for path in again.iterdir()}
    assert names == {"README.md", "choice.json", "config.json", "model.onnx", "model.safetensors"}


def test_the_card_says_what_was_chosen_on_what(delivered):
    card = " ".join((delivered / "README.md").read_text().split())
    choice = read_json(delivered / "choice.json")
    assert f"It reads {choice['test']['accuracy']:.1f} % of 200 test images" in card
    assert "of 40 held-out training images, the mean over 3 seeds" in card
    assert "the best of 2 candidates at all training images" in card
    assert "no test image had a part in the choice" in card
    assert "All 1 others lie more than two standard errors" in card
    assert "16 train" in card and "one, two, three, four" in card
    assert "{" not in re.sub(r"`.*?`|f\"[^\"]*\"|\{\}", "", card)  # nothing left to fill in


def test_statistics_of_the_run_come_with_the_model(tmp_path, monkeypatch):
    """As training.normalisation: real measures them, a run each."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    params = write_study(tmp_path, normalisation="real")
    out = run_deliver(tmp_path, params, tmp_path / "out")
    choice = read_json(out / "choice.json")
    file = tmp_path / f"results/real/vanilla/full-s{choice['seed']}"
    found = read_json(file.with_suffix(".json"))["normalisation"]
    assert read_json(out / "config.json")["pretrained_cfg"]["mean"] == found["mean"] != [0.5] * 3
    with np.load(file.with_suffix(".npz")) as tested:
        assert np.array_equal(_answers(out, tmp_path), tested["probabilities"])


def _answers(folder, root):
    from accelerate import Accelerator

    team = Team(Accelerator(cpu=True), rank=0, size=1)
    return read_model(folder).classify(read_dataset(root / "real").samples("test"), team)


def test_images_that_belong_together_change_the_interval(study, delivered, tmp_path):
    """Predictions name the groups of test images where the data set does."""
    root, params = study
    results = tmp_path / "results"
    shutil.copytree(root / "results", results)
    for path in results.glob("real/*/*.npz"):
        arrays = dict(np.load(path))
        np.savez(path, **arrays, groups=np.arange(200) // 20)
    inputs = DeliverInputs(root / "real", root / "backbone", root / "models", results)
    deliver(params, inputs, out=tmp_path / "out")
    grouped, plain = (
        read_json(folder / "choice.json")["test"] for folder in (tmp_path / "out", delivered)
    )
    assert grouped["accuracy"] == plain["accuracy"]
    assert grouped["high"] - grouped["low"] > 1.5 * (plain["high"] - plain["low"])


@pytest.mark.parametrize("is_better", [True, False])
def test_an_ensemble_is_delivered_where_held_out_images_say_so(tmp_path, monkeypatch, is_better):
    """The mean of models that learnt little, each otherwise, reads more; of perfect ones not."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    params = write_study(tmp_path, rate=3e-4 if is_better else 0.05)
    params = dataclasses.replace(params, deliver=DeliverSettings(ensemble=True))
    out = run_deliver(tmp_path, params, tmp_path / "out")
    choice = read_json(out / "choice.json")
    alone = max(read["held_out"] for read in choice["candidates"])
    assert (choice["together"] > alone) == is_better
    assert choice["num_members"] == (len(SEEDS) if is_better else 1)
    files = [tmp_path / f"results/real/{choice['arm']}/full-s{seed}.npz" for seed in SEEDS]
    if not is_better:
        files = [files[SEEDS.index(choice["seed"])]]
    tested = [np.load(file) for file in files]
    expected = np.mean([arrays["probabilities"] for arrays in tested], axis=0)
    assert np.array_equal(_answers(out, tmp_path), expected)
    right = 100 * (expected.argmax(1) == tested[0]["labels"]).mean()
    assert choice["test"]["accuracy"] == pytest.approx(right, abs=1e-4)
    _assert_onnx_agrees(out, tmp_path, expected)


def _assert_onnx_agrees(folder, root, expected):
    """Ask model.onnx about the test images, prepared by timm's transform (they are squares)."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = create_transform(**resolve_data_config({}, model=model))
    samples = read_dataset(root / "real").samples("test")
    images = np.stack([transform(read_image(sample)).numpy() for sample in samples])  # pyright: ignore
    (found,) = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"images": images})
    assert np.abs(found - expected).max() <= TOLERANCE
