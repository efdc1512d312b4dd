"""Accuracy, and what a paired difference between two arms can bear.

Two arms share their seeds (the same few-shot images) and their test images, so we compare them
image by image and seed by seed: a matrix of differences (S seeds, N test images) with entries
-1, 0, 1. Both axes are samples. The paired bootstrap draws seeds and test images with replacement,
the same for both arms (a pigeonhole bootstrap, Owen 2007), and reads the interval from the
percentiles of its means.

Few seeds need care: resampling S seeds shows only (S - 1) / S of their variance, and a normal
interval takes their spread for known. So the percentiles are stretched about the estimate by

    sqrt((V_s + V_n) / (V_s (S - 1) / S + V_n)) * t(df) / z

where V_s and V_n are the variances of the mean over seeds and over test images, t and z the
quantiles of Student's and the normal distribution, df = (V_s + V_n)^2 / (V_s^2 / (S - 1) +
V_n^2 / (N - 1)) (Satterthwaite). With many seeds the factor is 1. On simulated differences of
three seeds and 900 images, with a spread between seeds of 0 to 6 points, the plain 95 % percentile
interval held the truth in 99 to 86 % of cases, this one in 99 to 94 %: it errs to the safe side.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri, stdtrit

Verdict = Literal["helps", "does not help", "cannot tell at this size"]

RESAMPLES_AT_ONCE = 100  # bounds the memory of (resamples, N) counts: 20 MB at 25,000 images


@dataclass(frozen=True)
class Interval:
    """A paired difference of accuracy with its confidence interval, all in points."""

    difference: float
    low: float
    high: float
    num_seeds: int  # with one seed the interval covers the choice of test images alone
    num_images: int


def top1_accuracy(correct: np.ndarray) -> float:
    """Return the fraction of correct answers; `correct` is (N,) booleans."""
    return float(np.mean(correct))


def mean_per_class_accuracy(correct: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over the classes in `labels` of each class's fraction of correct answers.

    Args:
        correct: (N,) booleans.
        labels: (N,) true classes.
    """
    return float(np.mean(image_weights(labels, "mean_per_class") * correct))


def image_weights(labels: np.ndarray, measure: str) -> np.ndarray:
    """Return the weight (N,), of mean 1, that each test image has in `measure`."""
    if measure == "top1":
        return np.ones(len(labels))
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(counts) * counts[index])


def paired_interval(
    arm: np.ndarray,
    reference: np.ndarray,
    weights: np.ndarray,
    *,
    confidence: float,
    num_resamples: int,
    seed: int,
) -> Interval:
    """Compare an arm with its reference by a paired bootstrap over seeds and test images.

    Args:
        arm: (S, N) booleans, whether the arm's model of seed s is right on test image n.
        reference: (S, N) booleans of the reference, same seeds and images.
        weights: (N,) weights of the images, of mean 1.
        confidence: of the interval, between 0 and 1.
        num_resamples: the number of bootstrap draws.
        seed: draws the resamples.

    Raises:
        ValueError: if the shapes differ.
    """
    if arm.shape != reference.shape or arm.ndim != 2 or weights.shape != arm.shape[1:]:
        raise ValueError(
            f"paired arms need the same seeds and test images, but got {arm.shape} and "
            f"{reference.shape} answers; compare runs of one test set"
        )
    differences = (arm.astype(np.float64) - reference) * weights  # (S, N)
    draws = bootstrap_means(differences, num_resamples=num_resamples, seed=seed)
    mean, tail = differences.mean(), (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    stretch = few_seeds_stretch(differences, confidence)
    return Interval(
        difference=100 * float(mean),
        low=100 * float(mean + stretch * (low - mean)),
        high=100 * float(mean + stretch * (high - mean)),
        num_seeds=arm.shape[0],
        num_images=arm.shape[1],
    )


def bootstrap_means(differences: np.ndarray, *, num_resamples: int, seed: int) -> np.ndarray:
    """Return the mean (num_resamples,) of each draw of seeds and images from (S, N) differences.

    A draw is two vectors of counts, how often each seed and each image was drawn, so its mean is
    a product of counts and differences: no resampled matrix is ever made.
    """
    num_seeds, num_images = differences.shape
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, num_resamples, RESAMPLES_AT_ONCE):
        num = min(RESAMPLES_AT_ONCE, num_resamples - start)
        seed_counts = _counts(rng, num, num_seeds)  # (num, S)
        image_counts = _counts(rng, num, num_images)  # (num, N)
        by_seed = image_counts @ differences.T  # (num, S)
        means.append((seed_counts * by_seed).sum(axis=1) / (num_seeds * num_images))
    return np.concatenate(means)


def _counts(rng: np.random.Generator, num: int, size: int) -> np.ndarray:
    """Draw `size` of `size` things with replacement `num` times; return counts (num, size)."""
    drawn = rng.integers(size, size=(num, size)) + size * np.arange(num)[:, None]
    return np.bincount(drawn.ravel(), minlength=num * size).reshape(num, size).astype(np.float64)


def few_seeds_stretch(differences: np.ndarray, confidence: float) -> float:
    """Return the factor by which to stretch a percentile interval; 1 for a single seed."""
    num_seeds, num_images = differences.shape
    if num_seeds == 1:
        return 1.0
    over_seeds = differences.mean(axis=1).var(ddof=1) / num_seeds
    over_images = differences.mean(axis=0).var(ddof=1) / num_images if num_images > 1 else 0.0
    total = over_seeds + over_images
    if total == 0:
        return 1.0
    freedom = total**2 / (over_seeds**2 / (num_seeds - 1) + over_images**2 / max(num_images - 1, 1))
    lost = total / (over_seeds * (num_seeds - 1) / num_seeds + over_images)
    tail = (1 + confidence) / 2
    return float(np.sqrt(lost) * stdtrit(freedom, tail) / ndtri(tail))


def verdict(interval: Interval, *, smallest_gain: float) -> Verdict:
    """Say in one of three ways what an interval means.

    "helps": the whole interval lies above zero. "does not help": it rules out any gain of
    `smallest_gain` points. Everything else, and any single seed, cannot be told at this size.
    """
    if interval.num_seeds < 2:
        return "cannot tell at this size"
    if interval.low > 0:
        return "helps"
    return "does not help" if interval.high < smallest_gain else "cannot tell at this size"
