"""Near-duplicates: pairs of images whose CLIP embeddings nearly agree; and the nearest image."""

from typing import NamedTuple

import faiss
import numpy as np

MAX_PAIRS = 1000  # written out, the most alike; all are counted


class Pair(NamedTuple):
    """Two images that show nearly the same."""

    query: int  # row of the first embeddings
    reference: int  # row of the second
    similarity: float  # cosine, at most 1


def near_duplicates(queries: np.ndarray, references: np.ndarray, threshold: float) -> list[Pair]:
    """Find all pairs of a query and a reference that are more alike than `threshold`.

    Args:
        queries: unit vectors (N, D) float32.
        references: unit vectors (M, D) float32.
        threshold: the cosine that a pair must exceed; 1 finds none.

    Returns:
        The pairs, the most alike first; of equals the lower rows.
    """
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(references)
    # Pair p of query q: bounds[q] <= p < bounds[q + 1].
    bounds, similarities, found = index.range_search(queries, threshold)
    rows = np.repeat(np.arange(len(queries)), np.diff(bounds.astype(np.int64)))
    similarities = np.minimum(similarities, 1)  # rounding may leave it a little above
    order = np.lexsort((found, rows, -similarities))
    return [
        Pair(int(rows[p]), int(found[p]), float(similarities[p]))
        for p in order
        if similarities[p] > threshold
    ]


def nearest_references(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return for each query the row of the reference most like it, the lower of equals: (N,).

    Args:
        queries: unit vectors (N, D) float32.
        references: unit vectors (M, D) float32; one or more.
    """
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(references)  # it searches in blocks: N x M cosines at once may be 30 GB
    return index.search(queries, 1)[1][:, 0]
