"""Which final model is delivered: the arm and set that read held-out training images best.

Held-out images are few, and the best of many candidates on few images looks better than it is. So
the choice comes with how many candidates the images cannot tell from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri


@dataclass(frozen=True)
class HeldOut:
    """What the models of a candidate, one a seed, answer on held-out images."""

    correct: np.ndarray  # (S, N) bool
    weights: np.ndarray  # (N,) of mean 1: of each image in the measure

    def accuracy(self) -> float:
        """Return the mean over seeds, as a fraction."""
        return float((self.correct * self.weights).mean())

    def median_seed(self) -> int:
        """Return the number of the seed whose accuracy is the median; of two the lower one's."""
        of_seeds = (self.correct * self.weights).mean(1)
        return int(np.argsort(of_seeds, kind="stable")[(len(of_seeds) - 1) // 2])


def choose_best(candidates: Sequence[HeldOut]) -> int:
    """Return the number of the candidate with the best mean accuracy; of equals the first."""
    return int(np.argmax([candidate.accuracy() for candidate in candidates]))


def count_close(candidates: Sequence[HeldOut], best: int) -> int:
    """Count the others within two standard errors of the best.

    The error is that of a paired mean over seeds and images, both of which are samples.
    """
    return sum(
        _is_close(candidates[best], other)
        for number, other in enumerate(candidates)
        if number != best
    )


def _is_close(best: HeldOut, other: HeldOut) -> bool:
    num_seeds = min(len(best.correct), len(other.correct))
    pairs = best.correct[:num_seeds].astype(float) - other.correct[:num_seeds]
    difference = pairs * best.weights  # (S, N)
    variance = _variance_of_mean(difference.mean(1)) + _variance_of_mean(difference.mean(0))
    return bool(difference.mean() <= 2 * np.sqrt(variance))


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def accuracy_interval(
    correct: np.ndarray, weights: np.ndarray, confidence: float, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the interval of one model's accuracy over the choice of test images, as fractions.

    Wilson's, with the number of independent images that have the same standard error as these:
    weights and images of one group (a writer, an object) tell less than as many others.

    Args:
        correct: (N,) bool.
        weights: (N,) of mean 1.
        confidence: between 0 and 1.
        groups: (N,) int; None: each image stands alone.
    """
    accuracy = float((correct * weights).mean())
    index = np.arange(len(correct)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(index, weights=(correct - accuracy) * weights)  # a group
    count = float(len(sums))
    if 0 < accuracy < 1:
        variance = np.square(sums).sum() / len(correct) ** 2
        count = accuracy * (1 - accuracy) / variance
    z = float(ndtri((1 + confidence) / 2))
    middle = (accuracy + z * z / (2 * count)) / (1 + z * z / count)
    spread = accuracy * (1 - accuracy) / count + z * z / (4 * count * count)
    half = z * float(np.sqrt(spread)) / (1 + z * z / count)
    return middle - half, middle + half
