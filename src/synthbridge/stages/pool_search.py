"""The search of `retrieve`: a pool is listed, embedded and searched for the words of every class.

Its list, embeddings and index stay in the work folder, for the next search.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from synthbridge.clip.captions import Catalogue, write_catalogue
from synthbridge.clip.embedding import Clip
from synthbridge.clip.image_index import (
    build_index,
    check_index,
    find_nearest,
    read_index,
    stored_vectors,
    write_index,
)
from synthbridge.clip.pool import PoolImage, list_images, read_pixels
from synthbridge.clip.settings import RetrievedSettings
from synthbridge.diffusion.prompts import TEMPLATES
from synthbridge.files import read_json, write_json
from synthbridge.progress import progress
from synthbridge.stages.processes import share_units
from synthbridge.work import unit_key, unit_path, whole_unit

IMAGES_PER_UNIT = 5000  # embedded by one process as one unit of work
CATALOGUE, ABOUT, VECTORS = "catalogue.sqlite", "pool.json", "vectors.npy"


@dataclass(frozen=True)
class ListedPool:
    """A pool whose images are listed."""

    folder: Path
    catalogue: Catalogue
    fingerprint: str  # of all keys, captions and sizes: what is known without decoding

    def pixels(self, row: int) -> np.ndarray:
        """Decode an image: (H, W, 3) uint8.

        Raises:
            ValueError: if it is no whole image.
        """
        return read_pixels(self.folder, self.catalogue.image(row))


def list_pool(accelerator: Accelerator, folder: Path) -> ListedPool:
    """List a pool, unless its files are those of a list in the work folder.

    Raises:
        ValueError: if it is no pool of captioned images.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    ]
    unit = unit_path("retrieve", unit_key(files=facts))
    if accelerator.is_main_process and not unit.is_dir():
        with whole_unit(unit) as partial:
            digest = hashlib.sha256()
            write_catalogue(partial / CATALOGUE, _hashed(list_images(folder), digest.update))
            write_json(partial / ABOUT, {"fingerprint": digest.hexdigest()})
    accelerator.wait_for_everyone()
    fingerprint = read_json(unit / ABOUT)["fingerprint"]
    return ListedPool(folder, Catalogue(unit / CATALOGUE), fingerprint)


def _hashed(
    images: Iterator[PoolImage], update: Callable[[bytes], None]
) -> Iterator[PoolImage]:  # fmt: skip
    for image in images:
        update(repr((image.key, image.caption, image.size)).encode())
        yield image


@dataclass(frozen=True)
class Embedder:
    """CLIP, and the processes that share its work."""

    accelerator: Accelerator
    clip: Clip
    clip_hash: str  # of its folder: the preprocessor decides the vectors, too

    def embed(
        self, read: Callable[[int], np.ndarray], rows: Sequence[int], **decides: Any
    ) -> np.ndarray:
        """Embed images, in units of work that the processes share.

        Args:
            read: decodes the image of a row; a ValueError says that it is no whole image.
            rows: of the images.
            decides: what decides their bytes.

        Returns:
            Unit vectors (N, D) float32 in the order of `rows`, zeros for what is no whole image.
        """
        starts = range(0, len(rows), IMAGES_PER_UNIT)
        parts = {start: list(rows[start : start + IMAGES_PER_UNIT]) for start in starts}
        paths = {
            start: unit_path("retrieve", unit_key(rows=part, clip=self.clip_hash, **decides))
            for start, part in parts.items()
        }
        done = lambda start: paths[start].is_dir()  # noqa: E731
        for start in share_units(self.accelerator, list(parts), done):
            vectors = _embed(self.clip, read, parts[start])
            with whole_unit(paths[start]) as unit:
                np.save(unit / VECTORS, vectors)
        return np.concatenate([np.load(paths[start] / VECTORS) for start in starts])


def _embed(clip: Clip, read: Callable[[int], np.ndarray], rows: Sequence[int]) -> np.ndarray:
    broken = []

    def images() -> Iterator[np.ndarray]:
        items = progress(rows, total=len(rows), what="embedding", unit="image")
        for index, row in enumerate(items):
            try:
                yield read(row)
            except ValueError:  # one file of a large pool that is not whole stops nothing
                broken.append(index)
                yield np.zeros((8, 8, 3), np.uint8)

    vectors = clip.embed_images(images())
    vectors[broken] = 0
    return vectors


@dataclass(frozen=True)
class Search:
    """What a search found."""

    found: list[dict[int, str]]  # for each class, by the image's row, the query that found it
    rows: list[int]  # of all images found, ascending
    vectors: np.ndarray  # (N, D) theirs
    texts: list[np.ndarray]  # for each class, (T, D)


def search_pool(
    settings: RetrievedSettings,
    words: Sequence[Sequence[str]],
    pool: ListedPool,
    embedder: Embedder,
) -> Search | None:
    """Search a pool for every class, in the first process; None in the others.

    Args:
        settings: of the set.
        words: what each class is called.
        pool: where to look.
        embedder: makes what vectors are wanted.

    Raises:
        ValueError: if nothing is found, or the given index does not fit.
    """
    given = Path(settings.index) if settings.index else None
    if given:
        check_index(given, clip=embedder.clip_hash, pool=pool.fingerprint)
    found, rows = [], list(range(len(pool.catalogue)))
    if settings.search == "caption":
        found = [pool.catalogue.find(of_class, settings.candidates) for of_class in words]
        rows = _rows_of(found, pool)
    vectors = None if given else embedder.embed(pool.pixels, rows, pool=pool.fingerprint)
    if not embedder.accelerator.is_main_process:
        return None
    prompts = [[text.format(word) for word in of_class for text in TEMPLATES] for of_class in words]
    texts = [embedder.clip.embed_texts(of_class) for of_class in prompts]
    if vectors is not None and settings.search == "caption":
        return Search(found, rows, vectors, texts)
    index = read_index(given or _make_index(vectors, pool, embedder))
    if settings.search == "clip":
        assert settings.candidates is not None
        found = [
            find_nearest(index, of_class, queries, settings.candidates)
            for of_class, queries in zip(prompts, texts, strict=True)
        ]
        rows = _rows_of(found, pool)
    return Search(found, rows, stored_vectors(index, rows), texts)


def _rows_of(found: Sequence[dict[int, str]], pool: ListedPool) -> list[int]:
    rows = sorted(set().union(*found))
    if not rows:
        raise ValueError(
            f"no image of the pool {pool.folder} was found for any class; give the classes the "
            "words of its captions (queries), or search: clip"
        )
    return rows


def _make_index(vectors: np.ndarray | None, pool: ListedPool, embedder: Embedder) -> Path:
    """Return the folder of the pool's index, made unless it lies in the work folder."""
    unit = unit_path("retrieve", unit_key(index=pool.fingerprint, clip=embedder.clip_hash))
    if not unit.is_dir():
        assert vectors is not None
        with whole_unit(unit) as partial:
            write_index(
                partial, build_index(vectors), clip=embedder.clip_hash, pool=pool.fingerprint
            )  # fmt: skip
    return unit
