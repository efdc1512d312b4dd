"""Long-tailed training data: accuracy on the frequent, the middling and the rare classes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synthbridge.evidence.results import ZERO_SHOT, TestedModel
from synthbridge.evidence.statistics import mean_per_class_accuracy

GROUPS = ("many", "medium", "few")


def frequency_groups(counts: Sequence[int]) -> dict[str, np.ndarray]:
    """Cut the classes into thirds by their training images; of equals the lower index first.

    Thirds are chosen: the long-tail literature's bounds of 100 and 20 images (arXiv:1904.05160)
    would leave groups empty in small data sets.

    Returns:
        Class indices of `many`, `medium` and `few`; with two classes no `few`.
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    thirds = zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True)
    return {name: classes for name, classes in thirds if len(classes)}


def with_frequencies(run: TestedModel, counts: Sequence[int]) -> TestedModel:
    """Add `accuracy_many`, `_medium` and `_few` to a run: mean per class, in percent.

    Only to those that trained on the long tail, or on nothing: k shots are k of every class.
    """
    if run.shots != "full" and run.arm != ZERO_SHOT:
        return run
    beside = dict(run.beside)
    for name, classes in frequency_groups(counts).items():
        chosen = np.isin(run.labels, classes)
        accuracy = mean_per_class_accuracy(run.correct[chosen], run.labels[chosen])
        beside[f"accuracy_{name}"] = 100 * accuracy
    return replace(run, beside=beside)
