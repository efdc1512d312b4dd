import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from synthbridge.evidence.statistics import (
    SMALLEST_P,
    Axis,
    half_width,
    holm,
    image_weights,
    mean_per_class_accuracy,
    paired_interval,
    seeds_and_groups,
    top1_accuracy,
    two_sided_p,
)


def test_accuracies_agree_with_sklearn():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, p=[0.5, 0.2, 0.15, 0.1, 0.05], size=400)
    answers = np.where(rng.random(400) < 0.7, labels, rng.integers(5, size=400))
    correct = answers == labels
    assert top1_accuracy(correct) == pytest.approx(accuracy_score(labels, answers))
    expected = balanced_accuracy_score(labels, answers)
    assert mean_per_class_accuracy(correct, labels) == pytest.approx(expected)
    assert image_weights(labels, "mean_per_class").mean() == pytest.approx(1.0)


def compare(arm, reference, *, groups=None, confidence=0.95, weights=None):
    weights = np.ones(arm.shape[1]) if weights is None else weights
    return paired_interval(arm, reference, weights, groups=groups, confidence=confidence)


def draw_pair(rng, num_seeds, num_images, spread, gain=0.05):
    """Draw answers of an arm and its reference; `spread` is that of the gain over seeds."""
    ease = np.clip(0.7 + 0.25 * rng.standard_normal(num_images), 0.02, 0.98)
    gains = gain + spread * rng.standard_normal((num_seeds, 1))
    gains = gains + 0.1 * rng.standard_normal(num_images)
    chance = rng.random((num_seeds, num_images))
    return chance < np.clip(ease + gains, 0, 1), rng.random((num_seeds, num_images)) < ease


def ends(interval):
    return interval.low, interval.high


def test_where_images_do_not_differ_it_is_the_paired_t_over_seeds():
    """Each image stands for a thousand that were answered alike: only the seeds vary."""
    gains = np.array([0.02, 0.05, -0.01, 0.04, 0.03])
    differences = np.tile(gains[:, None], (1, 2000))
    axes = seeds_and_groups(differences, np.ones(2000))
    expected = stats.ttest_1samp(gains, 0)
    low, high = expected.confidence_interval(0.95)
    assert half_width(axes, 0.05) == pytest.approx((high - low) / 2)
    assert two_sided_p(gains.mean(), axes) == pytest.approx(expected.pvalue)


def test_with_many_images_it_is_nearly_the_paired_t_over_seeds():
    arm, reference = draw_pair(np.random.default_rng(0), 6, 60_000, 0.05)
    interval = compare(arm, reference)
    expected = stats.ttest_rel(100 * arm.mean(axis=1), 100 * reference.mean(axis=1))
    assert ends(interval) == pytest.approx(expected.confidence_interval(0.95), rel=0.03)
    assert interval.p_value == pytest.approx(expected.pvalue, rel=0.1)


def test_where_seeds_do_not_differ_it_is_the_paired_t_over_images():
    rng = np.random.default_rng(3)
    arm = np.tile(rng.random(900) < 0.8, (4, 1))
    reference = np.tile(rng.random(900) < 0.7, (4, 1))
    interval = compare(arm, reference)
    expected = stats.ttest_rel(100.0 * arm[0], 100.0 * reference[0])
    assert ends(interval) == pytest.approx(expected.confidence_interval(0.95))
    assert interval.p_value == pytest.approx(expected.pvalue)


def sandwich(values, groups):
    """Return the variance of a mean as regression software computes it: a constant, CR1."""
    ones = np.ones((len(values), 1))
    bread = np.linalg.inv(ones.T @ ones)
    coefficients = bread @ ones.T @ values
    residuals = values - ones @ coefficients
    names = np.unique(groups)
    meat = np.zeros((1, 1))
    for name in names:
        score = ones[groups == name].T @ residuals[groups == name]
        meat += np.outer(score, score)
    return (bread @ meat @ bread).item() * len(names) / (len(names) - 1)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_variance_is_that_of_two_clusterings(grouped):
    """Of all S x N differences as one list, clustered by seed and by group; sizes are unequal."""
    rng = np.random.default_rng(5)
    differences = rng.standard_normal((4, 60)) + rng.standard_normal((4, 1))
    groups = np.sort(rng.choice(7, size=60, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05]))
    over_seeds, over_groups = seeds_and_groups(
        differences, np.ones(60), groups if grouped else None
    )
    seed, image = np.indices(differences.shape)
    clusters = groups[image] if grouped else image
    expected = sandwich(differences.ravel(), seed.ravel())
    assert over_seeds.variance == pytest.approx(expected)
    assert over_groups.variance == pytest.approx(sandwich(differences.ravel(), clusters.ravel()))


def test_the_quantile_is_the_weighted_mean_of_both():
    """By hand: t(2) = 4.3027 and t(8) = 2.3060 at 95 %, variances 3 and 1: 3.8035 x 2."""
    assert half_width([Axis(3.0, 2), Axis(1.0, 8)], 0.05) == pytest.approx(7.607, abs=1e-3)


def test_groups_of_unequal_size_count_as_fewer():
    """One group of 6 images and 4 of 1 weigh as 100 / (36 + 4) = 2.5 equal ones do."""
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    differences = np.random.default_rng(1).standard_normal((3, 10))
    seeds, of_groups = seeds_and_groups(differences, np.ones(10), groups)
    assert (seeds.freedom, of_groups.freedom) == (2, pytest.approx(1.5))


def test_images_of_one_group_that_answer_alike_count_once():
    """Each image copied five times: as many images more, and no more is known."""
    arm, reference = draw_pair(np.random.default_rng(2), 4, 100, 0.02)
    once = compare(arm, reference)
    copied = [np.repeat(answers, 5, axis=1) for answers in (arm, reference)]
    grouped = compare(*copied, groups=np.repeat(np.arange(100), 5))
    assert ends(grouped) == pytest.approx(ends(once))
    assert (grouped.num_groups, grouped.num_images, once.num_groups) == (100, 500, None)
    unaware = compare(*copied)
    assert unaware.high - unaware.low < grouped.high - grouped.low


def test_weights_of_a_class_are_those_of_its_accuracy():
    rng = np.random.default_rng(6)
    labels = rng.choice(3, size=300, p=[0.8, 0.1, 0.1])
    arm, reference = draw_pair(rng, 3, 300, 0.02)
    interval = compare(arm, reference, weights=image_weights(labels, "mean_per_class"))
    expected = [
        balanced_accuracy_score(labels, np.where(right, labels, (labels + 1) % 3))
        for right in (*arm, *reference)
    ]
    assert interval.difference == pytest.approx(100 * (sum(expected[:3]) - sum(expected[3:])) / 3)
    assert interval.high - interval.low > compare(arm, reference).high - interval.low


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(num_seeds):
    arm, reference = draw_pair(np.random.default_rng(3), num_seeds, 200, 0.02)
    interval = compare(arm, reference)
    assert interval.difference == pytest.approx(100 * (arm.mean() - reference.mean()))
    assert all(math.isnan(value) for value in (interval.low, interval.high, interval.p_value))
    assert not interval.is_known


def test_three_seeds_have_one():
    interval = compare(*draw_pair(np.random.default_rng(3), 3, 200, 0.02))
    assert interval.is_known and interval.low < interval.difference < interval.high


def test_equal_answers_differ_by_nothing():
    answers = np.random.default_rng(5).random((3, 100)) < 0.5
    interval = compare(answers, answers)
    assert (interval.difference, interval.low, interval.high, interval.p_value) == (0, 0, 0, 1)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(6)
    reference = rng.random((3, 600)) < 0.7
    arm = reference | (rng.random((3, 600)) < 0.1)
    shuffled = rng.permuted(arm, axis=1)
    paired, unpaired = compare(arm, reference), compare(shuffled, reference)
    assert paired.difference == pytest.approx(unpaired.difference)
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)


def test_the_p_value_meets_the_interval():
    """At a confidence of 1 - p the interval ends at zero."""
    arm, reference = draw_pair(np.random.default_rng(8), 4, 200, 0.02)
    p_value = compare(arm, reference).p_value
    assert 0 < p_value < 1
    assert compare(arm, reference, confidence=1 - p_value).low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.03, 0.06])
def test_intervals_hold_the_truth(spread):
    truth_rng = np.random.default_rng(99)
    pairs = (draw_pair(truth_rng, 40, 2000, spread) for _ in range(60))
    truth = np.mean([100 * (arm.mean() - reference.mean()) for arm, reference in pairs])
    held = 0
    for trial in range(400):
        interval = compare(*draw_pair(np.random.default_rng(trial), 3, 300, spread))
        held += interval.low <= truth <= interval.high
    # 95 % of 400 is 380, with a standard deviation of 4.4.
    assert held >= 371


@pytest.mark.parametrize("mean", [1e-9, 0.3, 40.0, 700.0])
def test_a_p_value_of_one_axis_is_students(mean):
    assert two_sided_p(mean, [Axis(4.0, 5)]) == pytest.approx(2 * stats.t.sf(mean / 2, 5), rel=1e-6)


def test_no_p_value_is_below_the_smallest():
    assert two_sided_p(1e4, [Axis(1.0, 900)]) == SMALLEST_P
    assert two_sided_p(1.0, [Axis(0.0, 2), Axis(0.0, 9)]) == SMALLEST_P


def test_refuses_unpaired_answers():
    with pytest.raises(ValueError, match="same seeds and test images"):
        compare(np.ones((3, 10), bool), np.ones((2, 10), bool))


def test_refuses_test_images_that_are_all_one_group():
    arm, reference = draw_pair(np.random.default_rng(8), 3, 20, 0.02)
    with pytest.raises(ValueError, match="all 20 test images are one group"):
        compare(arm, reference, groups=np.zeros(20, int))


def test_holm():
    """By hand: 4 x 0.01, then 3 x 0.02, then 2 x 0.03, which may not go below, then 0.5."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_what_was_not_tested():
    adjusted = holm([math.nan, 0.01, 0.02])
    assert math.isnan(adjusted[0]) and adjusted[1:] == pytest.approx([0.02, 0.02])
