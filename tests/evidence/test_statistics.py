import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from synthbridge.evidence.statistics import (
    Interval,
    bootstrap_means,
    few_seeds_stretch,
    image_weights,
    mean_per_class_accuracy,
    paired_interval,
    top1_accuracy,
    verdict,
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


def compare(arm, reference, **settings):
    defaults = {"confidence": 0.95, "num_resamples": 2000, "seed": 0}
    return paired_interval(arm, reference, np.ones(arm.shape[1]), **{**defaults, **settings})


def draw_pair(rng, num_seeds, num_images, spread, gain=0.05):
    """Draw answers of an arm and its reference; `spread` is that of the gain over seeds."""
    ease = np.clip(0.7 + 0.25 * rng.standard_normal(num_images), 0.02, 0.98)
    gains = gain + spread * rng.standard_normal((num_seeds, 1))
    gains = gains + 0.1 * rng.standard_normal(num_images)
    chance = rng.random((num_seeds, num_images))
    return chance < np.clip(ease + gains, 0, 1), rng.random((num_seeds, num_images)) < ease


def test_bootstrap_agrees_with_a_slow_one():
    differences = np.random.default_rng(1).integers(-1, 2, size=(3, 40)).astype(float)
    fast = bootstrap_means(differences, num_resamples=20000, seed=0)
    rng = np.random.default_rng(2)
    slow = np.array(
        [
            differences[np.ix_(rng.integers(3, size=3), rng.integers(40, size=40))].mean()
            for _ in range(20000)
        ]
    )
    assert fast.mean() == pytest.approx(slow.mean(), abs=3e-3)
    assert fast.std() == pytest.approx(slow.std(), rel=0.03)
    points = [0.025, 0.5, 0.975]
    assert np.quantile(fast, points) == pytest.approx(np.quantile(slow, points), abs=0.02)


def test_one_seed_gives_the_normal_interval_over_images():
    rng = np.random.default_rng(3)
    arm, reference = rng.random((1, 900)) < 0.8, rng.random((1, 900)) < 0.7
    interval = compare(arm, reference, num_resamples=20000)
    differences = arm.astype(float) - reference
    half = 196 * differences.std() / 30  # 1.96 standard errors in points; sqrt(900) = 30
    assert interval.difference == pytest.approx(100 * differences.mean())
    assert interval.high - interval.difference == pytest.approx(half, rel=0.05)
    assert interval.difference - interval.low == pytest.approx(half, rel=0.05)
    assert (interval.num_seeds, interval.num_images) == (1, 900)


def test_seeds_alone_give_the_interval_of_students_t():
    # All images of a seed differ alike: the images say nothing, n = 2 differences of 0 and 1.
    differences = np.array([[0.0] * 50, [1.0] * 50])
    stretch = few_seeds_stretch(differences, 0.95)
    # sqrt(2 / 1) undoes what a resample of two loses; t has 1 degree of freedom, 12.706.
    assert stretch == pytest.approx(np.sqrt(2) * 12.7062 / 1.95996, rel=1e-4)


def test_stretch_vanishes_with_many_seeds():
    differences = np.random.default_rng(4).standard_normal((400, 300))
    assert few_seeds_stretch(differences, 0.95) == pytest.approx(1.0, abs=0.01)


def test_equal_answers_differ_by_nothing():
    answers = np.random.default_rng(5).random((3, 100)) < 0.5
    interval = compare(answers, answers)
    assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(6)
    reference = rng.random((3, 600)) < 0.7
    arm = reference | (rng.random((3, 600)) < 0.1)
    shuffled = rng.permuted(arm, axis=1)
    paired, unpaired = compare(arm, reference), compare(shuffled, reference)
    assert paired.difference == pytest.approx(unpaired.difference)
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_the_seed_decides_the_draws():
    arm, reference = draw_pair(np.random.default_rng(7), 3, 200, 0.02)
    assert compare(arm, reference) == compare(arm, reference)
    first, second = (
        bootstrap_means(arm.astype(float), num_resamples=100, seed=seed) for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_more_confidence_is_wider():
    arm, reference = draw_pair(np.random.default_rng(8), 3, 200, 0.02)
    narrow, wide = compare(arm, reference, confidence=0.8), compare(arm, reference)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("spread", [0.0, 0.03, 0.06])
def test_intervals_hold_the_truth(spread):
    truth_rng = np.random.default_rng(99)
    pairs = (draw_pair(truth_rng, 40, 2000, spread) for _ in range(60))
    truth = np.mean([100 * (arm.mean() - reference.mean()) for arm, reference in pairs])
    held = 0
    for trial in range(150):
        arm, reference = draw_pair(np.random.default_rng(trial), 3, 300, spread)
        interval = compare(arm, reference, num_resamples=300, seed=trial)
        held += interval.low <= truth <= interval.high
    # 95 % of 150 is 142.5, with a standard deviation of 2.7.
    assert held >= 135


def test_refuses_unpaired_answers():
    with pytest.raises(ValueError, match="same seeds and test images"):
        compare(np.ones((3, 10), bool), np.ones((2, 10), bool))


@pytest.mark.parametrize(
    ("low", "high", "num_seeds", "expected"),
    [
        (0.1, 9.0, 3, "helps"),
        (0.1, 0.5, 3, "helps"),
        (-3.0, -0.1, 3, "does not help"),
        (-0.4, 0.9, 3, "does not help"),
        (0.0, 0.0, 3, "does not help"),
        (-0.4, 1.0, 3, "cannot tell at this size"),
        (-2.0, 5.0, 3, "cannot tell at this size"),
        (4.0, 5.0, 1, "cannot tell at this size"),
    ],
)
def test_verdicts(low, high, num_seeds, expected):
    interval = Interval((low + high) / 2, low, high, num_seeds, 900)
    assert verdict(interval, smallest_gain=1.0) == expected
