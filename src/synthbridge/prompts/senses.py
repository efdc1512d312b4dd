"""Senses: of what a class's name may mean, the one that its real images show (Diversify)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Choice:
    """The sense chosen for a class, and the score of each: a mean cosine, to four digits."""

    chosen: str
    scores: dict[str, float]


def choose_sense(images: np.ndarray, senses: Mapping[str, np.ndarray]) -> Choice:
    """Choose the sense whose text lies nearest a class's images; of two alike, the first.

    A sense's text is the mean of its prompts' vectors, of unit length again (CLIP's ensembling,
    arXiv:2103.00020, section 3.1.4); its score is the mean cosine with the images.
    Reconstruction: Diversify says no more than that CLIP finds the closest sense.

    Args:
        images: unit vectors (N, D) of the class's real images.
        senses: each sense with the unit vectors (P, D) of its prompts.
    """
    middle = images.astype(np.float64).mean(axis=0)  # its product is the mean of the cosines
    scores = {}
    for sense, prompts in senses.items():
        text = prompts.astype(np.float64).mean(axis=0)
        scores[sense] = round(float(middle @ text / np.linalg.norm(text)), 4)
    return Choice(max(scores, key=lambda sense: scores[sense]), scores)


def ambiguous(senses: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> list[int]:
    """List the labels of the classes that have senses to choose from."""
    return [label for label, name in enumerate(class_names) if name in senses]
