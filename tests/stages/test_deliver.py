"""Which model is delivered, and what its card says."""

import re
import shutil

import numpy as np
import pytest

from delivered_model import SEEDS, changed, run_deliver, write_study
from synthbridge.core.files import read_json
from synthbridge.data.real import read_dataset
from synthbridge.delivery.model import read_model
from synthbridge.stages.deliver import DeliverInputs, deliver
from synthbridge.training.team import Team


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Final models where test images prefer the arm that learns nothing."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(root / "work"))
        return root, write_study(root, shift_test=1)


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
