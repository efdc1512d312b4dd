"""Rank correlation of two readings of the same things, with its interval."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata

# With four points even the best order of all comes by chance once in 24 times, in either direction
# once in 12: a correlation of fewer than five can say nothing at 95 %.
FEWEST_POINTS = 5
LARGEST = 0.999  # of a correlation of 1 the formula of the interval knows no width


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Spearman's correlation of paired values.

    None if there are fewer than FEWEST_POINTS pairs, or the values of either side are all alike.
    """
    if len(left) < FEWEST_POINTS or len(set(left)) == 1 or len(set(right)) == 1:
        return None
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def rank_correlation(
    left: Sequence[float], right: Sequence[float], confidence: float
) -> tuple[float, float, float] | None:
    """Return Spearman's correlation and its interval; None where it does not exist.

    The interval is Fisher's, with the variance of Bonett and Wright (Psychometrika 65, 2000):
    atanh(rho) has about (1 + rho^2 / 2) / (n - 3).

    Args:
        left: a value a class.
        right: another of the same class.
        confidence: of the interval.
    """
    rho = spearman(left, right)
    if rho is None:
        return None
    middle = math.atanh(max(-LARGEST, min(LARGEST, rho)))
    deviation = math.sqrt((1 + rho**2 / 2) / (len(left) - 3))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    return rho, math.tanh(middle - reach), math.tanh(middle + reach)
