import numpy as np
import pytest
from evidence.simulated import simulate_runs

from synthbridge.evidence.frequency import frequency_groups, with_frequencies
from synthbridge.evidence.results import read_runs

COUNTS = [75, 58, 45, 35, 27, 21, 16, 13, 10, 8]


def test_thirds_by_count_ties_by_index():
    groups = frequency_groups([5, 9, 5, 1, 7])
    found = {name: list(classes) for name, classes in groups.items()}
    assert found == {"many": [1, 4], "medium": [0, 2], "few": [3]}
    assert list(frequency_groups([3, 4])) == ["many", "medium"]


def test_groups_are_the_mean_of_their_classes(tmp_path):
    simulate_runs(tmp_path, shots=[1, "full"], seeds=[0], num_test=300)
    full = next(run for run in read_runs([tmp_path], "digits") if run.shots == "full")
    few = with_frequencies(full, COUNTS).beside["accuracy_few"]
    by_class = [full.correct[full.labels == label].mean() for label in (7, 8, 9)]
    assert few == pytest.approx(100 * np.mean(by_class))


def test_k_shots_have_no_tail(tmp_path):
    simulate_runs(tmp_path, shots=[1], seeds=[0], num_test=60)
    run = read_runs([tmp_path], "digits")[0]
    assert with_frequencies(run, COUNTS) is run
