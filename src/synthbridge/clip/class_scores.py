"""How well images show what their class is called, by CLIP; and the best fraction of each class."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # it takes seconds to import, and plans only count
    from synthbridge.clip.embedding import Clip


def unit_mean(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of unit vectors (..., T, D), scaled to unit length: (..., D) float64.

    That is CLIP's own way to ensemble texts (arXiv:2103.00020, section 3.1.4): the mean of texts
    that differ is shorter than that of texts alike, which would cede a class's images to others.
    """
    means = vectors.mean(axis=-2, dtype=np.float64)
    return means / np.linalg.norm(means, axis=-1, keepdims=True)


def class_vectors(clip: "Clip", class_names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Return a unit vector a class, (C, D) float64: the mean over its filled templates.

    Args:
        clip: the model.
        class_names: C names.
        templates: each with one `{}` for the name.
    """
    texts = [template.format(name) for name in class_names for template in templates]
    return unit_mean(clip.embed_texts(texts).reshape(len(class_names), len(templates), -1))


def count_kept(number: int, fraction: float, cap: int | None) -> int:
    """Return how many of `number` images the CLIP filter keeps: a fraction, rounded up, or cap."""
    kept = math.ceil(fraction * number - 1e-9)  # 0.3 x 10 is 3 in floats too
    return kept if cap is None else min(cap, kept)


def keep_best(
    scores: np.ndarray, groups: Sequence[object], fraction: float, cap: int | None = None
) -> np.ndarray:
    """Say which images are among the best `fraction` of their group: (N,) bool.

    A fraction of n images is rounded up, so that every group keeps at least one; of equal scores
    the earlier one is kept.

    Args:
        scores: (N,) cosine of each image to its class.
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
