import csv

import pytest

from quarters import make_images, training_settings, write_backbone, write_dataset
from synthbridge.core.files import read_json, write_json
from synthbridge.evidence.settings import ReportSettings
from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune
from synthbridge.stages.report import report
from synthbridge.stages.select import RECORD, VANILLA, SelectParams, Trial, choose_rate, select
from synthbridge.training.images import ImageSet
from synthbridge.training.settings import RealLegSettings


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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set whose test labels are all wrong, so that to learn nothing is best there."""
    root = tmp_path_factory.mktemp("world")
    test = make_images(16, seed=2)
    splits = {
        "train": make_images(32, seed=0),
        "validation": make_images(16, seed=1),
        "test": ImageSet(test.images, (test.labels + 1) % 4),
    }
    write_dataset(root / "digits", splits)
    write_backbone(root / "backbone")
    return root


def _real_leg(split):
    rates = [0.05] if split == "nothing" else [0.05, 1e-6]
    return RealLegSettings(
        learning_rates=rates, select_on=split, num_epochs=6, num_epochs_few_shot=1
    )


def _select(world, out, split, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(world / "work"))
    params = SelectParams(_real_leg(split), training_settings(weight_decay=0.0), ["full"], [0])
    select(params, real=world / "digits", backbone=world / "backbone", out=out)
    return read_json(out)["full"]


def _run(world, out, split, monkeypatch):
    """Select, fine-tune and report."""
    rates = out / "rates.json"
    chosen = _select(world, rates, split, monkeypatch)
    training = training_settings(weight_decay=0.0)
    finetune(
        FinetuneParams({"vanilla": VANILLA}, ["full"], [0], training, _real_leg(split), {}),
        FinetuneInputs(world / "digits", world / "backbone", rates),
        labels={"dataset": "digits", "set": None, "method": "real"},
        models=out / "models",
        results=out / "results",
    )
    settings = ReportSettings(
        primary=None,
        measure="top1",
        smallest_gain=1.0,
        confidence=0.95,
        grid_classes=2,
        grid_images=1,
    )
    report(settings, dataset="digits", final=[out / "results"], out=out / "metrics")
    return chosen, read_json(out / "results/vanilla/full-s0.json")


def _marks(out):
    """Return the keys of the summary, and the series and the mark of the row of accuracy.csv."""
    summary = read_json(out / "metrics/summary.json")["digits"]
    with (out / "metrics/accuracy.csv").open() as file:
        (row,) = csv.DictReader(file)
    return list(summary), row["series"], row.get("learning_rate_selected_on")


def test_held_out_images_select_and_nothing_says_test(world, tmp_path, monkeypatch):
    chosen, record = _run(world, tmp_path, "validation", monkeypatch)
    assert chosen["learning_rate"] == 0.05 and chosen["held_out_accuracy"]["0.05"] > 0.9
    assert record["learning_rate"] == 0.05 and record["top1"] < 0.1
    assert record["selection"] == chosen["held_out_accuracy"] and "selected_on" not in record
    assert _marks(tmp_path) == (["accuracy"], "digits real vanilla", None)


def test_test_images_select_only_when_asked_and_everything_says_so(world, tmp_path, monkeypatch):
    chosen, record = _run(world, tmp_path, "test", monkeypatch)
    assert set(chosen) == {"learning_rate", "test_accuracy"}
    assert chosen["learning_rate"] == 1e-6  # what learns the right labels fails on these
    assert chosen["test_accuracy"]["1e-06"] == record["top1"] > chosen["test_accuracy"]["0.05"]
    assert record["selection"] == chosen["test_accuracy"] and record["selected_on"] == "test"
    series = "digits real vanilla (learning rate selected on test images)"
    assert _marks(tmp_path) == (["accuracy_selected_on_test"], series, "test")


def test_selecting_on_test_images_says_one_line_more(world, tmp_path, monkeypatch, capsys):
    lines = {}
    for split in ("validation", "test"):
        _select(world, tmp_path / "rates.json", split, monkeypatch)
        lines[split] = capsys.readouterr().out.splitlines()
    more = [line for line in lines["test"] if line not in lines["validation"]]
    assert len(more) == 1 and "real_leg.select_on" in more[0]
    assert [line for line in lines["test"] if line not in more] == lines["validation"]


def test_a_given_rate_is_selected_on_nothing_and_bears_no_mark(world, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a model was trained to select a rate")

    monkeypatch.setattr("synthbridge.stages.select.Tester.make", refuse)
    chosen, record = _run(world, tmp_path, "nothing", monkeypatch)
    assert chosen == {"learning_rate": 0.05, "selected_on": "nothing"}
    assert record["learning_rate"] == 0.05 and record["selection"] == {}
    assert record["selected_on"] == "nothing"
    assert _marks(tmp_path) == (["accuracy"], "digits real vanilla", None)
