import numpy as np
import pytest
from scipy.stats import binomtest

from synthbridge.delivery.choice import HeldOut, accuracy_interval, choose_best, count_close
from synthbridge.evidence.statistics import image_weights

ONES = np.ones(200)


def _held_out(rights, num_images=200):
    """Return seeds that are right on the first so many images."""
    correct = np.array([np.arange(num_images) < right for right in rights])
    return HeldOut(correct, np.ones(num_images))


def test_the_best_mean_over_seeds_wins_and_of_equals_the_first():
    assert choose_best([_held_out(r) for r in ([90, 90], [100, 60], [88, 92], [70, 70])]) == 0
    assert choose_best([_held_out(r) for r in ([10, 20], [190, 200])]) == 1


@pytest.mark.parametrize(
    ("rights", "seed"),
    [([10, 30, 20], 2), ([10, 40, 20, 30], 2), ([5], 0), ([7, 7, 7], 1), ([9, 1], 1)],
)
def test_the_median_seed_and_of_two_the_lower(rights, seed):
    assert _held_out(rights).median_seed() == seed


def test_the_measure_weighs_images_or_classes():
    labels = np.array([0, 0, 0, 1])
    held_out = HeldOut(np.array([[True, True, True, False]]), image_weights(labels, "top1"))
    assert held_out.accuracy() == 0.75
    weights = image_weights(labels, "mean_per_class")
    assert HeldOut(held_out.correct, weights).accuracy() == pytest.approx(0.5)


def test_what_images_cannot_tell_from_the_best_is_counted():
    rng = np.random.default_rng(0)
    best, equal, worse = (HeldOut(rng.random((4, 200)) < p, ONES) for p in (0.85, 0.84, 0.4))
    assert count_close([best, equal, worse], 0) == 1
    assert count_close([best, worse], 0) == 0


@pytest.mark.parametrize("right", [0, 3, 150, 200])
def test_the_interval_is_wilsons(right):
    expected = binomtest(right, 200).proportion_ci(0.95, method="wilson")
    found = accuracy_interval(np.arange(200) < right, ONES, 0.95)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_images_of_one_group_count_as_one():
    correct = np.arange(200) % 3 == 0
    twice = accuracy_interval(np.repeat(correct, 2), np.ones(400), 0.9, np.repeat(range(200), 2))
    assert twice == pytest.approx(accuracy_interval(correct, ONES, 0.9))


def test_the_interval_of_a_mean_per_class_is_wider_where_a_class_is_small():
    labels = np.repeat([0, 1], [190, 10])
    correct = np.arange(200) % 2 == 0
    even = accuracy_interval(correct, ONES, 0.95)
    uneven = accuracy_interval(correct, image_weights(labels, "mean_per_class"), 0.95)
    assert uneven[1] - uneven[0] > 2 * (even[1] - even[0])
