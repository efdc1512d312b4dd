"""Near-duplicates: pairs of images whose embeddings point the same way."""

from dataclasses import dataclass

import numpy as np

ROWS = 4096  # queries compared at once


@dataclass(frozen=True)
class Pair:
    """Two images as alike as the threshold asks."""

    query: int  # row of the queries
    reference: int  # row of the references
    similarity: float  # cosine


def near_duplicates(queries: np.ndarray, references: np.ndarray, threshold: float) -> list[Pair]:
    """List the pairs with a cosine of at least `threshold`, the most alike first.

    Args:
        queries: (N, D) unit vectors.
        references: (M, D) unit vectors of the same CLIP.
        threshold: the smallest cosine that counts.
    """
    pairs = []
    for start in range(0, len(queries), ROWS):
        cosines = queries[start : start + ROWS] @ references.T
        for row, column in zip(*np.nonzero(cosines >= threshold), strict=True):
            pairs.append(Pair(start + int(row), int(column), float(cosines[row, column])))
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.query, pair.reference))
