"""Accuracy, and what a paired difference between two models can bear.

Two arms share their seeds (the same few-shot images) and their test images, so we compare them
image by image and seed by seed: a matrix of differences (S seeds, N test images) with entries
-1, 0, 1. Both axes are samples, crossed: another seed would give other models, another draw of
test images other questions. The variance of the mean is estimated for either axis alone and added,

    V = V_s + V_g    V_s = sum_s (d_s - d)^2 / (S (S - 1))    V_g = G / (G - 1) sum_g r_g^2

where d_s is the mean difference of seed s, and r_g = sum_{n in g} w_n (d_n - d) / N the part that
the images of group g have in the mean: d_n is the mean difference on image n over the seeds, w_n
its weight (of mean 1). Images that show the same thing (a writer, an animal, a burst) are one
group; where no group is known, each image is its own. This is the cluster-robust variance of either
axis (CR1), as in Cameron, Gelbach and Miller (2011, doi:10.1198/jbes.2010.07136).

What is left of an image under a seed when both means are taken out is in V_s and in V_g, so it
counts twice. Their method takes it out once; we leave it in, since without it the interval holds
the truth a little too rarely where seeds are skewed. So it errs to the wide side, most where seeds
and images hardly differ.

The interval is d -+ t sqrt(V), where t is the mean of Student's quantiles of both axes, weighted
with their variances (Cochran 1964, doi:10.2307/2346190):

    t = (V_s t(S - 1) + V_g t(G' - 1)) / V    G' = (sum_g w_g)^2 / sum_g w_g^2

w_g is the weight of a group: groups of unequal sizes count as the G' equal ones that weigh as much.
Where one axis does not vary this is Student's paired t over the other. Satterthwaite's degrees of
freedom give narrower intervals, which with three seeds hold the truth in 92 % instead of 95 %:
docs/evidence.md has the figures. Nothing is drawn, so the same answers give the same interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import bisect
from scipy.special import stdtrit

# With two seeds Student's t has one degree of freedom and takes 12.7 standard errors to each side:
# an interval that says nothing.
FEWEST_SEEDS = 3
SMALLEST_P = 1e-12  # what is below counts as this: farther out, no quantile is exact


@dataclass(frozen=True)
class Interval:
    """A paired difference of accuracy with its confidence interval, all in points.

    With fewer than FEWEST_SEEDS seeds there is none: `low`, `high` and `p_value` are NaN.
    """

    difference: float
    low: float
    high: float
    p_value: float  # two-sided, of no difference, by the same t
    num_seeds: int
    num_images: int
    num_groups: int | None  # of test images; None: no group is known

    @property
    def is_known(self) -> bool:
        """Say whether there were seeds enough for an interval."""
        return self.num_seeds >= FEWEST_SEEDS


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
    groups: np.ndarray | None = None,
    confidence: float,
) -> Interval:
    """Compare an arm with its reference over seeds and test images.

    Args:
        arm: (S, N) booleans, whether the arm's model of seed s is right on test image n.
        reference: (S, N) booleans of the reference, same seeds and images.
        weights: (N,) weights of the images, of mean 1.
        groups: (N,) numbers of the groups that the images come in; None: each is its own.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: if the shapes differ, or all test images are one group.
    """
    if arm.shape != reference.shape or arm.ndim != 2 or weights.shape != arm.shape[1:]:
        raise ValueError(
            f"paired arms need the same seeds and test images, but got {arm.shape} and "
            f"{reference.shape} answers; compare runs of one test set"
        )
    num_seeds, num_images = arm.shape
    differences = 100 * (arm.astype(np.float64) - reference)  # points
    mean = float((differences * weights).mean())
    low = high = p_value = math.nan
    if num_seeds >= FEWEST_SEEDS:
        axes = seeds_and_groups(differences, weights, groups)
        half = half_width(axes, 1 - confidence)
        low, high, p_value = mean - half, mean + half, two_sided_p(mean, axes)
    return Interval(
        difference=mean,
        low=low,
        high=high,
        p_value=p_value,
        num_seeds=num_seeds,
        num_images=num_images,
        num_groups=None if groups is None else len(np.unique(groups)),
    )


@dataclass(frozen=True)
class Axis:
    """What one axis, seeds or groups of test images, says of the mean."""

    variance: float  # of the mean
    freedom: float  # degrees of freedom of this estimate


def seeds_and_groups(
    differences: np.ndarray, weights: np.ndarray, groups: np.ndarray | None = None
) -> list[Axis]:
    """Estimate over either axis the variance of the mean of (S, N) `differences`.

    Args:
        differences: of at least two seeds.
        weights: (N,) of mean 1.
        groups: (N,) numbers; None: each image is its own group.

    Raises:
        ValueError: if all test images are one group.
    """
    num_seeds, num_images = differences.shape
    by_seed = (differences * weights).mean(axis=1)
    parts = weights * (differences.mean(axis=0) - by_seed.mean()) / num_images
    in_groups = weights
    if groups is not None:
        _, index = np.unique(groups, return_inverse=True)
        parts = np.bincount(index, parts)
        in_groups = np.bincount(index, weights)
    num_groups = len(parts)
    if num_groups < 2:
        raise ValueError(
            f"all {num_images} test images are one group, so nothing tells how another would do; "
            "name groups that hold a part of the test images each"
        )
    over_groups = num_groups / (num_groups - 1) * (parts**2).sum()
    equal_groups = in_groups.sum() ** 2 / (in_groups**2).sum()
    return [
        Axis(float(by_seed.var(ddof=1)) / num_seeds, num_seeds - 1),
        Axis(float(over_groups), float(equal_groups) - 1),
    ]


def half_width(axes: Sequence[Axis], level: float) -> float:
    """Return how far the interval at 1 - `level` reaches to each side of the mean."""
    total = sum(axis.variance for axis in axes)
    if total == 0:  # all images differ alike, under all seeds
        return 0.0
    summed = sum(axis.variance * -stdtrit(axis.freedom, level / 2) for axis in axes)
    return float(summed) / math.sqrt(total)


def two_sided_p(mean: float, axes: Sequence[Axis]) -> float:
    """Return the p-value of a mean of 0: the level at which the interval ends there."""
    if mean == 0:
        return 1.0
    if half_width(axes, SMALLEST_P) <= abs(mean):
        return SMALLEST_P
    log_level: Any = bisect(
        lambda log: half_width(axes, math.exp(log)) - abs(mean), math.log(SMALLEST_P), 0.0
    )
    return math.exp(log_level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that one below a level is found wrongly in so few families (Holm 1979).

    A NaN was not tested: it stays, and the others do not pay for it.
    """
    adjusted = [math.nan] * len(p_values)
    tested = [index for index, value in enumerate(p_values) if not math.isnan(value)]
    largest = 0.0
    for rank, index in enumerate(sorted(tested, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
