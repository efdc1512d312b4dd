import pytest

from synthbridge.files import write_json
from synthbridge.stages.select import RECORD, Trial, choose_rate


def _trials(tmp_path, accuracies):
    trials = []
    for rate, values in accuracies.items():
        for seed, value in enumerate(values):
            path = tmp_path / f"{rate}-{seed}"
            write_json(path / RECORD, {"held_out_accuracy": value})
            trials.append(Trial(4, seed, rate, path))
    return [*trials, Trial("full", 0, 9.0, tmp_path / "never-read")]


def test_the_best_mean_wins_and_of_equals_the_first(tmp_path):
    trials = _trials(tmp_path, {0.1: [0.9, 0.1], 0.03: [0.6, 0.5], 0.01: [0.5, 0.6]})
    assert choose_rate(trials, 4) == {
        "learning_rate": 0.03,
        "held_out_accuracy": {"0.1": 0.5, "0.03": 0.55, "0.01": 0.55},
    }


def test_rates_that_all_diverge_are_refused(tmp_path):
    with pytest.raises(ValueError, match="4 shots diverged at every rate of"):
        choose_rate(_trials(tmp_path, {0.1: [None], 0.3: [None]}), 4)


def test_an_honest_nought_is_no_divergence(tmp_path):
    """Three held-out images may all be read wrongly; a rate that diverged is never chosen."""
    chosen = choose_rate(_trials(tmp_path, {0.1: [None], 0.3: [0.0]}), 4)
    assert chosen == {"learning_rate": 0.3, "held_out_accuracy": {"0.1": 0.0, "0.3": 0.0}}
