"""The image index of a pool: CLIP embeddings that are searched by inner product (faiss).

Exact where that costs no more than minutes. Above, the embeddings are cut into cells around k-means
centroids (IVF) and a query looks at the cells nearest to it. An index is a folder: index.faiss, and
index.json, which says of which images it is and which CLIP made it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from synthbridge.core.files import read_json, write_json

EXACT_UP_TO = 1_000_000  # chosen: 2,700 queries (100 classes, 27 templates) take 3 TFLOP at 512
FAISS, ABOUT = "index.faiss", "index.json"
WAY_OUT = "set index to null, so that one is made, or name one that fits"


def build_index(vectors: np.ndarray, *, exact_up_to: int = EXACT_UP_TO) -> faiss.Index:
    """Index unit vectors (N, D) float32; row i of the index is row i of `vectors`."""
    num_vectors, width = vectors.shape
    if num_vectors <= exact_up_to:
        index = faiss.IndexFlatIP(width)
    else:
        # Chosen: 4 sqrt(N) cells, as faiss's guidelines for up to a million advise, and an eighth
        # of them searched: a vector just over a border is missed, one in the middle never.
        num_cells = round(4 * num_vectors**0.5)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, num_cells, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = max(1, num_cells // 8)
        index.train(vectors)  # pyright: ignore[reportCallIssue]
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return index


def write_index(folder: Path, index: faiss.Index, *, clip: str, pool: str) -> None:
    """Write an index with the hash of the CLIP that made it and that of its pool."""
    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(folder / FAISS))
    write_json(folder / ABOUT, {"clip": clip, "pool": pool, "num_images": index.ntotal})


def check_index(folder: Path, *, clip: str, pool: str) -> None:
    """Check that the index in `folder` is of this pool and made by this CLIP.

    Raises:
        ValueError: if it is not, or is none.
    """
    if not (folder / FAISS).is_file() or not (folder / ABOUT).is_file():
        raise ValueError(f"{folder} holds no image index ({FAISS}, {ABOUT}); {WAY_OUT}")
    about: dict[str, Any] = read_json(folder / ABOUT)
    for name, what, expected in (("clip", "CLIP", clip), ("pool", "pool", pool)):
        if about.get(name) != expected:
            raise ValueError(
                f"the image index {folder} is of another {what} ({str(about.get(name))[:12]}) than "
                f"the one at hand ({expected[:12]}); {WAY_OUT}"
            )


def read_index(folder: Path) -> faiss.Index:
    """Read an index that `write_index` wrote."""
    index = faiss.read_index(str(folder / FAISS))
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()  # so that vectors are found by row
    return index


def find_nearest(
    index: faiss.Index, texts: Sequence[str], queries: np.ndarray, limit: int
) -> dict[int, str]:
    """Find the images nearest to each of several texts.

    Args:
        index: of a pool.
        texts: what is looked for.
        queries: (Q, D) float32, the unit vector of each text.
        limit: images that one text may find.

    Returns:
        The text that found it, by row; the nearest of several.
    """
    nearest: dict[int, tuple[float, str]] = {}
    found = index.search(queries, min(limit, index.ntotal))  # pyright: ignore[reportCallIssue]
    for text, cosines, rows in zip(texts, *found, strict=True):
        for cosine, row in zip(cosines.tolist(), rows.tolist(), strict=True):
            if row >= 0 and (row not in nearest or cosine > nearest[row][0]):  # -1: no more found
                nearest[row] = cosine, text
    return {row: text for row, (_, text) in nearest.items()}


def stored_vectors(index: faiss.Index, rows: Sequence[int]) -> np.ndarray:
    """Return the unit vectors (N, D) float32 of `rows`."""
    if not len(rows):
        return np.empty((0, index.d), np.float32)
    return index.reconstruct_batch(np.array(rows))  # pyright: ignore[reportCallIssue]
