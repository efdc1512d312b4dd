"""What rows of a study differ by, over seeds, and how they fall with fewer real images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, variance

import numpy as np

from synthbridge.evidence.statistics import Axis, half_width

CONFIDENCE = 0.95


def interval_over_seeds(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of Student's t around the mean of paired differences; None of one.

    Records of experiments hold no answers to single test images, so these are taken as they are.
    """
    num = len(differences)
    if num < 2:
        return None
    half = half_width([Axis(variance(differences) / num, num - 1)], 1 - CONFIDENCE)
    return mean(differences) - half, mean(differences) + half


@dataclass(frozen=True)
class LogFit:
    """accuracy = all_real - slope x ln(reduction), by least squares (Gap, figure 3).

    The reduction is how many times fewer real images a class there are than all of them.
    """

    all_real: float  # percent, where nothing is taken away
    slope: float  # points lost for e times fewer images
    num_all: float  # real images a class, all of them

    def at(self, shots: str) -> float:
        """Return the accuracy with so many real images a class."""
        return self.all_real - self.slope * _log_reduction(shots, self.num_all)

    def __str__(self) -> str:
        """Write it as the paper does."""
        return f"{self.all_real:.2f} {-self.slope:+.2f} ln(reduction)"


def fit_logarithm(accuracies: Mapping[str, float], num_all: float) -> LogFit | None:
    """Fit a polynomial of degree 1 in the logarithm to accuracies by shots; None of one."""
    if len(accuracies) < 2:
        return None
    logs = [_log_reduction(shots, num_all) for shots in accuracies]
    slope, all_real = np.polyfit(logs, list(accuracies.values()), 1)
    return LogFit(float(all_real), -float(slope), num_all)


def _log_reduction(shots: str, num_all: float) -> float:
    return 0.0 if shots == "full" else math.log(num_all / int(shots))
