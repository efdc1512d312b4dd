"""Rank correlation of two readings of the same classes, with its interval."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata

FEWEST = 5  # pairs; below, the interval is all of -1 to 1
LARGEST = 0.999  # of a correlation of 1 the formula knows no width


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
    if len(left) < FEWEST or len(set(left)) == 1 or len(set(right)) == 1:
        return None
    rho = float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])
    middle = math.atanh(max(-LARGEST, min(LARGEST, rho)))
    deviation = math.sqrt((1 + rho**2 / 2) / (len(left) - 3))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    return rho, math.tanh(middle - reach), math.tanh(middle + reach)
