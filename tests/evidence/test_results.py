import json

import numpy as np
import pytest
from evidence.simulated import Cell, simulate_runs

from synthbridge.evidence.results import arm_key, read_runs, shots_key

ONES = {"shots": [1, "full"], "seeds": [0, 1], "num_test": 60}


@pytest.fixture
def final(tmp_path):
    simulate_runs(tmp_path / "final", **ONES)
    return tmp_path / "final"


def edit(path, **changes):
    record = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(record))


def test_reads_every_run_in_order(tmp_path):
    written = simulate_runs(tmp_path, **ONES)
    runs = read_runs([tmp_path], "digits")
    read = [Cell(run.dataset, run.method, run.set, run.arm, run.shots, run.seed) for run in runs]
    assert len(read) == len(written) and set(read) == written
    arms = list(dict.fromkeys(run.arm for run in runs))
    assert arms[:3] == ["vanilla", "vanilla_equal_steps", "vanilla_fc_reinit"]
    vanilla = [(run.shots, run.seed) for run in runs if run.arm == "vanilla"]
    assert vanilla == [(1, 0), (1, 1), ("full", 0), ("full", 1)]
    assert runs[-1].arm == "synthetic_only"


def test_values_become_percent(final):
    run = read_runs([final], "digits")[0]
    path = final / "digits/real/vanilla/1-s0"
    arrays = np.load(path.with_suffix(".npz"))
    correct = arrays["probabilities"].argmax(1) == arrays["labels"]
    assert run.top1 == pytest.approx(100 * correct.mean())
    assert np.array_equal(run.correct, correct)
    by_class = [correct[arrays["labels"] == label].mean() for label in np.unique(arrays["labels"])]
    assert run.mean_per_class == pytest.approx(100 * np.mean(by_class))
    assert run.selection == {0.1: 70.0, 0.03: 80.0, 0.01: 60.0}
    assert max(run.train_accuracy) > 1


def test_groups_are_read_where_they_are_known(final, tmp_path):
    assert all(run.groups is None for run in read_runs([final], "digits"))
    simulate_runs(tmp_path / "groups", **ONES, num_groups=7)
    for run in read_runs([tmp_path / "groups"], "digits"):
        assert run.groups is not None and run.groups.tolist() == [n % 7 for n in range(60)]


@pytest.mark.parametrize("changed", [None, np.zeros(60, np.int32)])
def test_other_groups_are_other_test_images(changed, tmp_path):
    simulate_runs(tmp_path, **ONES, num_groups=7)
    path = tmp_path / "digits/dsi/bridged/1-s0.npz"
    arrays = dict(np.load(path))
    del arrays["groups"]
    np.savez(path, **arrays, **({} if changed is None else {"groups": changed}))
    with pytest.raises(ValueError, match="tested on other images than the rest"):
        read_runs([tmp_path], "digits")


def test_groups_of_other_images_are_refused(tmp_path):
    simulate_runs(tmp_path, **ONES, num_groups=7)
    path = tmp_path / "digits/dsi/bridged/1-s0.npz"
    np.savez(path, **{**np.load(path), "groups": np.zeros(59, np.int32)})
    with pytest.raises(ValueError, match=r"holds groups \(59,\) of 60 test images"):
        read_runs([tmp_path], "digits")


def test_folders_given_twice_count_once(final):
    assert len(read_runs([final, final / "digits/real"], "digits")) == len(
        read_runs([final], "digits")
    )


def test_shots_and_arms_have_an_order():
    assert sorted(["full", 16, 2, 1], key=shots_key) == [1, 2, 16, "full"]
    arms = ["synthetic_only", "mixed", "vanilla_equal_steps", "bridged", "vanilla_fc", "vanilla"]
    in_order = ["vanilla", "vanilla_equal_steps", "vanilla_fc", "bridged", "mixed"]
    assert sorted(arms, key=arm_key) == [*in_order, "synthetic_only"]


def break_nothing_there(final):
    for path in final.rglob("*.json"):
        path.unlink()


def break_predictions_missing(final):
    (final / "digits/real/vanilla/1-s0.npz").unlink()


def break_predictions_truncated(final):
    path = final / "digits/real/vanilla/1-s0.npz"
    path.write_bytes(path.read_bytes()[:200])


def break_predictions_nan(final):
    path = final / "digits/real/vanilla/1-s0.npz"
    arrays = dict(np.load(path))
    arrays["probabilities"][3, 2] = np.nan
    np.savez(path, **arrays)


def break_predictions_shape(final):
    path = final / "digits/real/vanilla/1-s0.npz"
    arrays = dict(np.load(path))
    np.savez(path, probabilities=arrays["probabilities"], labels=arrays["labels"][1:])


def break_record_truncated(final):
    path = final / "digits/real/vanilla/1-s0.json"
    path.write_text(path.read_text()[:40])


def break_record_lacks_a_key(final):
    path = final / "digits/real/vanilla/1-s0.json"
    record = json.loads(path.read_text())
    del record["gradient_steps"]
    path.write_text(json.dumps(record))


def break_accuracy_differs(final):
    edit(final / "digits/real/vanilla/1-s0.json", top1=0.999)


def break_accuracy_is_nan(final):
    edit(final / "digits/real/vanilla/1-s0.json", top1=float("nan"))


def break_two_alike(final):
    edit(final / "digits/real/vanilla/1-s0.json", seed=1)


def break_other_test_images(final):
    path = final / "digits/real/vanilla/1-s1.npz"
    arrays = dict(np.load(path))
    arrays["labels"] = (arrays["labels"] + 1) % 10
    arrays["probabilities"] = np.roll(arrays["probabilities"], 1, axis=1)
    np.savez(path, **arrays)


def break_other_data_set(final):
    edit(final / "digits/real/vanilla/1-s0.json", dataset="pets")


def break_one_run_lost(final):
    (final / "digits/real/index.json").write_text('{"num_runs": 13}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_nothing_there, "no run .* run 'dvc repro'"),
        (break_predictions_missing, "1-s0.npz is missing"),
        (break_predictions_truncated, "1-s0.npz cannot be read"),
        (break_predictions_nan, "1-s0.npz holds NaN for 1 of 60 test images"),
        (break_predictions_shape, r"probabilities \(60, 10\) and labels \(59,\)"),
        (break_record_truncated, "1-s0.json is not whole JSON"),
        (break_record_lacks_a_key, "1-s0.json is not a whole record .*gradient_steps"),
        (break_accuracy_differs, "top1 0.999, but its predictions give 0"),
        (break_accuracy_is_nan, "top1 nan"),
        (break_two_alike, "two runs of arm 'vanilla'"),
        (break_other_test_images, "tested on other images"),
        (break_other_data_set, "was run on pets, but this report is of digits"),
        (break_one_run_lost, "holds 12 runs of 13"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refuses_in_one_sentence(final, damage, message):
    damage(final)
    with pytest.raises(ValueError, match=message) as refusal:
        read_runs([final], "digits")
    assert "\n" not in str(refusal.value)


def test_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        read_runs([tmp_path / "nowhere"], "digits")
