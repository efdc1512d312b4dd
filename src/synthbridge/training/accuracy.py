"""Accuracy, as the data sets' papers define it."""

import numpy as np


def accuracies(probabilities: np.ndarray, labels: np.ndarray, prefix: str = "") -> dict[str, float]:
    """Return both by their names, which begin with `prefix`."""
    return {
        f"{prefix}top1": top1(probabilities, labels),
        f"{prefix}mean_per_class": mean_per_class(probabilities, labels),
    }


def top1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of images (N, C) whose likeliest class is the right one (N,)."""
    return float((probabilities.argmax(1) == labels).mean())


def mean_per_class(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over the classes present of the fraction of their images that are right."""
    right = probabilities.argmax(1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
