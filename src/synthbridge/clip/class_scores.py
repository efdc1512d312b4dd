"""How well images show what their class is called, by CLIP."""

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
