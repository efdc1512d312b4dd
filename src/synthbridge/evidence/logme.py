"""LogME: how well features explain labels, as the evidence of a Bayesian linear model.

You et al., 2021 (arXiv:2102.11005), with the fixed-point iteration of arXiv:2110.10545, which
finds the same maximum with less work. For each class, y (N,) is 1 on its images and 0 elsewhere:

    y ~ N(F w, 1/beta),  w ~ N(0, 1/alpha)
    LogME = mean over classes of max over alpha, beta of log p(y | F, alpha, beta) / N

Higher is better. Its size depends on N and on how often each class
occurs: compare models on one data set.
"""

import math

import numpy as np

MAX_ITERATIONS = 1000
TOLERANCE = 1e-6  # relative change of alpha / beta at which the iteration has arrived
SMALLEST = 1e-12  # stands for 0 where the evidence would have no end: features that fit exactly


def logme(features: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Return the LogME of features (N, D) for labels (N,).

    Args:
        features: (N, D), finite.
        labels: (N,) integers from 0 to num_classes - 1.
        num_classes: classes without an image are left out.

    Raises:
        ValueError: if the shapes disagree, a label is out of range or a feature is no number.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    _check(features, labels, num_classes)
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    left, values = left[:, values > 0], values[values > 0]  # (N, K), (K,), K <= min(N, D)
    evidences = [
        _largest_evidence(left.T @ y, values**2, float(y.sum()), len(features))
        for y in (np.asarray(labels == label, np.float64) for label in np.unique(labels))
    ]
    return float(np.mean(evidences))


def _largest_evidence(
    projections: np.ndarray, squares: np.ndarray, length: float, num: int
) -> float:
    """Return the largest log evidence of one class, divided by N.

    Args:
        projections: (K,) of y on the left singular vectors.
        squares: (K,) squared singular values.
        length: |y|^2.
        num: N.
    """
    outside = max(0.0, length - float((projections**2).sum()))  # of y, beyond the features' span
    ratio = 1.0  # alpha / beta
    alpha = beta = weights = residual = 1.0
    for _ in range(MAX_ITERATIONS):
        effective = float((squares / (squares + ratio)).sum())  # gamma, the effective dimensions
        weights = float((squares * projections**2 / (squares + ratio) ** 2).sum())  # |w|^2
        inside = float((projections**2 * (ratio / (squares + ratio)) ** 2).sum())
        weights, residual = max(weights, SMALLEST), max(inside + outside, SMALLEST)
        alpha = max(effective, SMALLEST) / weights
        beta = max(num - effective, SMALLEST) / residual
        before, ratio = ratio, alpha / beta
        if abs(ratio - before) <= TOLERANCE * before:
            break
    return (
        len(squares) * math.log(alpha)
        - float(np.log(alpha + beta * squares).sum())
        + num * math.log(beta)
        - beta * residual
        - alpha * weights
        - num * math.log(2 * math.pi)
    ) / (2 * num)


def _check(features: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(
            f"LogME needs features (N, D) and labels (N,) with N above 0, but got shapes "
            f"{features.shape} and {labels.shape}; pass one row of features for each label"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but must lie between 0 and "
            f"{num_classes - 1}; pass the data set's own number of classes"
        )
    if not np.isfinite(features).all():
        raise ValueError("LogME needs finite features, but one is NaN or infinite; train anew")
