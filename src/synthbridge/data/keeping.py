"""The best fraction of each class: which of a set's images stay."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# By the set's `select`: which of its images train.
SELECTED = {
    "clip": "most like their class",
    "entropy": "of highest entropy",
    "random": "at random",
}


def count_kept(number: int, fraction: float, cap: int | None) -> int:
    """Return how many of `number` images are kept: a fraction, rounded up, or cap."""
    kept = math.ceil(fraction * number - 1e-9)  # 0.3 x 10 is 3 in floats too
    return kept if cap is None else min(cap, kept)


def keep_best(
    scores: np.ndarray, groups: Sequence[object], fraction: float, cap: int | None = None
) -> np.ndarray:
    """Say which images are among the best `fraction` of their group: (N,) bool.

    A fraction of n images is rounded up, so that every group keeps at least one; of equal scores
    the earlier one is kept.

    Args:
        scores: (N,) of each image: its cosine to its class, say.
        groups: of each image, such as its class.
        fraction: in (0, 1]; 1 keeps all.
        cap: and at most so many of each group, 1 or more; None: no limit.
    """
    kept = np.zeros(len(scores), bool)
    members: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    for indices in members.values():
        order = np.argsort(-scores[indices], kind="stable")
        num_kept = count_kept(len(indices), fraction, cap)
        kept[np.array(indices)[order[:num_kept]]] = True
    return kept


def part_words(group: Mapping[str, Any]) -> str:
    """Say which part of a set trains, by its group in params.yaml; "" where all of it does."""
    if "search" in group:  # retrieved: what is taken is what is there
        return ""
    drawn = group["images_per_class"]
    kept = count_kept(drawn, group.get("keep_fraction", 1.0), group.get("cap"))
    which = SELECTED[group.get("select", "clip")]
    return "" if kept == drawn else f"{kept:,} of {drawn:,} drawn a class, {which}"
