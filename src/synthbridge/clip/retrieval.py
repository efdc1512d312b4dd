"""Retrieval: which images of a pool become the images of a class.

The Unmet Promise of Synthetic Training Images: candidates by caption or by CLIP, each image once,
ranked by CLIP, the best fraction kept; without near-duplicates of the test images, which would be
remembered, not recognised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthbridge.clip.class_scores import unit_mean
from synthbridge.clip.near_duplicates import Pair, near_duplicates
from synthbridge.clip.settings import RetrievedSettings
from synthbridge.data.keeping import count_kept


@dataclass(frozen=True)
class Hit:
    """One image that was found for a class."""

    row: int  # of the pool
    similarity: float  # cosine with the mean of the class's texts
    query: str  # the words that found it


@dataclass(frozen=True)
class ClassHits:
    """What retrieval did for one class."""

    kept: list[Hit]  # the best first
    num_found: int  # by its queries
    num_elsewhere: int  # of these, went to a class that they match better
    num_unreadable: int  # of the rest, are no whole image
    num_duplicates: int  # of the rest, show the same as a test image


@dataclass(frozen=True)
class Search:
    """What a search of a pool found for all classes."""

    found: Sequence[Mapping[int, str]]  # for each class, by the image's row, what found it
    rows: Sequence[int]  # of all images found, ascending
    vectors: np.ndarray  # (N, D) their unit vectors; zeros where an image cannot be read
    texts: Sequence[np.ndarray]  # for each class (T, D), the unit vectors of its texts


def choose_images(
    search: Search, test: np.ndarray, settings: RetrievedSettings
) -> tuple[list[ClassHits], list[Pair]]:
    """Choose the images of every class.

    Args:
        search: the images found.
        test: (M, D) unit vectors of the real test images.
        settings: how alike a near-duplicate is, and how many images are kept.

    Returns:
        A result a class, and the pairs of an image (index into `search.rows`) and a test image
        that show the same, the most alike first.
    """
    rows, vectors = search.rows, search.vectors
    similarities = [_cosines_with_mean(search, label) for label in range(len(search.found))]
    best: dict[int, tuple[float, int]] = {}  # row -> its similarity to its class, that class
    for label, of_class in enumerate(similarities):
        for row, similarity in of_class.items():
            if row not in best or similarity > best[row][0]:
                best[row] = similarity, label
    pairs = near_duplicates(vectors, test, settings.duplicates_above)
    duplicates = {rows[pair.query] for pair in pairs}
    unreadable = {row for row, vector in zip(rows, vectors, strict=True) if not vector.any()}
    results = []
    for label, of_class in enumerate(search.found):
        own = [row for row in of_class if best[row][1] == label]
        whole = [row for row in own if row not in unreadable]
        fresh = [row for row in whole if row not in duplicates]
        fresh.sort(key=lambda row: (-best[row][0], row))
        kept = fresh[: count_kept(len(fresh), settings.keep_fraction, settings.cap)]
        results.append(
            ClassHits(
                kept=[Hit(row, best[row][0], of_class[row]) for row in kept],
                num_found=len(of_class),
                num_elsewhere=len(of_class) - len(own),
                num_unreadable=len(own) - len(whole),
                num_duplicates=len(whole) - len(fresh),
            )
        )
    return results, pairs


def _cosines_with_mean(search: Search, label: int) -> dict[int, float]:
    """Return the cosine of each image found for a class with the mean of its texts, by row."""
    mine = np.fromiter(sorted(search.found[label]), np.int64)
    own = search.vectors[np.searchsorted(search.rows, mine)].astype(np.float64)
    cosines = own @ unit_mean(search.texts[label])
    cosines = cosines.round(6)  # so that the order of the sums decides no rank
    return dict(zip(mine.tolist(), cosines.tolist(), strict=True))
