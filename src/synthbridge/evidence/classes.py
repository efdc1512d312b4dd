"""Classes: which ones the primary arm reads better or worse than the reference, and on what images.

The extremes of many classes look larger than they are. So each class has an interval of its own and
a p-value that is adjusted for the number of classes (Holm).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthbridge.evidence.results import TestedModel
from synthbridge.evidence.statistics import holm, paired_interval

Pairs = Sequence[tuple[TestedModel, TestedModel]]  # arm and reference, seed by seed

COLUMNS = [
    "dataset",
    "method",
    "arm",
    "shots",
    "reference",
    "class",
    "num_test",
    "reference_accuracy",
]
COLUMNS += ["arm_accuracy", "difference", "low", "high", "p_value", "p_holm"]


@dataclass(frozen=True)
class ClassChange:
    """An arm beside its reference on the test images of one class; mean over seeds, percent."""

    label: int
    num_test: int
    reference_accuracy: float
    arm_accuracy: float
    low: float  # NaN: fewer than three seeds, or all images of the class are one group
    high: float
    p_value: float
    p_holm: float = math.nan

    @property
    def difference(self) -> float:
        """Points that the arm is above its reference."""
        return self.arm_accuracy - self.reference_accuracy


@dataclass(frozen=True)
class Flip:
    """A test image whose answer changed in most seeds."""

    index: int  # among the test images
    before: int  # the class that most of the reference's models say
    num_before: int  # of them
    after: int  # likewise of the arm's
    num_after: int


def class_changes(pairs: Pairs, confidence: float) -> list[ClassChange]:
    """Compare an arm with its reference class by class, in the order of the labels."""
    if not pairs:
        return []
    labels = pairs[0][0].labels
    changes = [_change(pairs, label, confidence) for label in np.unique(labels)]
    adjusted = holm([change.p_value for change in changes])
    return [
        ClassChange(**{**vars(change), "p_holm": p_holm})
        for change, p_holm in zip(changes, adjusted, strict=True)
    ]


def _change(pairs: Pairs, label: int, confidence: float) -> ClassChange:
    first = pairs[0][0]
    inside = first.labels == label
    arm, reference = (np.stack([pair[side].correct[inside] for pair in pairs]) for side in (0, 1))
    groups = None if first.groups is None else first.groups[inside]
    low = high = p_value = math.nan
    num_units = inside.sum() if groups is None else len(np.unique(groups))
    if num_units > 1:
        weights = np.ones(int(inside.sum()))
        found = paired_interval(arm, reference, weights, groups=groups, confidence=confidence)
        low, high, p_value = found.low, found.high, found.p_value
    return ClassChange(
        label=int(label),
        num_test=int(inside.sum()),
        reference_accuracy=100 * float(reference.mean()),
        arm_accuracy=100 * float(arm.mean()),
        low=low,
        high=high,
        p_value=p_value,
    )


def classes_table(
    pairs: Pairs, changes: Sequence[ClassChange], names: Sequence[str]
) -> pd.DataFrame:
    """Return one row a class; none without runs to compare."""
    rows = [
        {
            **{name: getattr(pairs[0][0], name) for name in ("dataset", "method", "arm", "shots")},
            "reference": pairs[0][1].arm,
            **vars(change),
            "difference": change.difference,
            "class": names[change.label],
        }
        for change in changes
    ]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def winners(changes: Sequence[ClassChange], num: int) -> list[ClassChange]:
    """Return the classes that gained, the largest gain first."""
    gained = [change for change in changes if change.difference > 0]
    return sorted(gained, key=lambda change: -change.difference)[:num]


def losers(changes: Sequence[ClassChange], num: int) -> list[ClassChange]:
    """Return the classes that lost, the largest loss first."""
    lost = [change for change in changes if change.difference < 0]
    return sorted(lost, key=lambda change: change.difference)[:num]


def flips(pairs: Pairs, change: ClassChange, num: int) -> list[Flip]:
    """Return test images of a class whose answer changed: to right if it gained, else to wrong.

    The right answer is that of most models on its side, and the most frequent one on the other is a
    wrong one. Those come first on which most seeds changed; of equals the first.
    """
    labels = pairs[0][0].labels
    rights = [sum(pair[side].correct.astype(int) for pair in pairs) for side in (0, 1)]
    arm, reference = rights if change.difference > 0 else rights[::-1]
    half = len(pairs) / 2
    flipped = (labels == change.label) & (arm > half) & (reference < half)
    order = np.argsort(reference - arm, kind="stable")
    found = [_flip(pairs, int(index)) for index in order[flipped[order]]]
    return [flip for flip in found if flip.before != flip.after][:num]


def _flip(pairs: Pairs, index: int) -> Flip:
    after, before = (_most_frequent([pair[side] for pair in pairs], index) for side in (0, 1))
    return Flip(index, *before, *after)


def _most_frequent(runs: Sequence[TestedModel], index: int) -> tuple[int, int]:
    """Return the answer that most models give an image, and how many do."""
    answers = [int(run.answers[index]) for run in runs if run.answers is not None]
    counts = np.bincount(answers)
    return int(counts.argmax()), int(counts.max())
