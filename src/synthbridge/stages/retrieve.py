"""Stage `retrieve`: images of a pool become a set, as the images of a generated set do.

The pool is listed once. CLIP embeds its images, or only those that captions found. The best of each
class are kept, and their ranks are cut into the same blocks as the images of a generated set.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from synthbridge.clip.captions import Catalogue, write_catalogue
from synthbridge.clip.embedding import Clip, load_clip
from synthbridge.clip.image_index import (
    build_index,
    check_index,
    find_nearest,
    read_index,
    stored_vectors,
    write_index,
)
from synthbridge.clip.near_duplicates import MAX_PAIRS, Pair
from synthbridge.clip.pool import PoolImage, list_images, read_bytes, read_pixels
from synthbridge.clip.retrieval import ClassHits, Search, choose_images
from synthbridge.clip.settings import RetrievedSettings
from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, progress, say
from synthbridge.core.processes import share_units, start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.data.encoding import encode_image
from synthbridge.data.pair_pictures import PAIRS_SHOWN, draw_pairs
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample, read_image, write_shard
from synthbridge.data.synthetic import ALL, PlannedShard, block_folders, check_volume, plan_shards
from synthbridge.prompts.templates import TEMPLATES

IMAGES_PER_UNIT = 5000  # embedded by one process as one unit of work
CATALOGUE, ABOUT, VECTORS = "catalogue.sqlite", "pool.json", "vectors.npy"  # files of units


@dataclass(frozen=True)
class RetrieveParams:
    """What the stage reads of params.yaml."""

    set_name: str
    retrieved: RetrievedSettings
    images_per_block: int
    classes_per_shard: int


def retrieve(
    params: RetrieveParams,
    *,
    real: Path,
    pool: Path,
    clip: Path,
    blocks: Sequence[Path],
    record: Path,
) -> None:
    """Write the shards of every block, and to `record` what was found, kept and left out.

    Raises:
        ValueError: if the pool is none, or no class finds an image.
    """
    settings = params.retrieved
    folder = Path(settings.pool) if settings.pool else pool
    log = StageLog(
        "retrieve",
        f"{settings.images_per_class} images a class by {settings.search} from {folder}",
    )
    check_volume(settings.images_per_class, params.images_per_block, len(blocks))
    dataset = read_dataset(real)
    words = class_words(settings.queries, dataset.class_names)
    test = [*dataset.samples("test"), *dataset.extra_test_samples()]
    with start_accelerator() as accelerator:
        model = load_clip(clip, accelerator.device)
        embedder = Embedder(accelerator, model, hash_folder(clip))
        listed = list_pool(accelerator, folder)
        try:
            search = search_pool(settings, words, listed, embedder)
        except NothingFoundError:
            some = ", ".join(f"'{name}'" for name in dataset.class_names[:3])
            raise ValueError(
                f"no image of the pool {folder} was found for any class ({some}, ...); give the "
                f"classes the words of its captions (retrieved.{params.set_name}.queries), say "
                f"search: clip, or leave the set out: python src sets remove {params.set_name}"
            ) from None
        test_vectors = embedder.embed(
            lambda row: np.asarray(read_image(test[row])), range(len(test)), real=hash_folder(real)
        )
        if not search:
            return  # the first process alone chooses and writes
        results, pairs = choose_images(search, test_vectors, settings)
        about = {"search": settings.search, "pool": listed.fingerprint, "clip": embedder.clip_hash}
        found = RetrievedImages(listed, dataset, test, results, settings.images_per_class, about)
        count = _write_blocks(params, found, blocks)
        _write_record(found, record)
        shown = [(search.rows[pair.query], pair) for pair in pairs[:MAX_PAIRS]]
        _write_pairs(found, shown, record)
    _say_holes(found)
    log.done(f"{count} images without {len(pairs)} near-duplicates of test", record.parent)


def class_words(
    queries: Mapping[str, Sequence[str]], class_names: Sequence[str]
) -> list[Sequence[str]]:
    """Return what each class is called: its name, or what the user says instead.

    Raises:
        ValueError: if `queries` names a class that is none.
    """
    for name in queries:
        if name not in class_names:
            raise ValueError(
                f"queries has words for '{name}', which is no class of the data set; "
                f"choose from {', '.join(class_names)}"
            )
    return [queries.get(name, [name]) for name in class_names]


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
    unit = unit_path("retrieve", unit_key(make=list_pool, files=facts))
    if accelerator.is_main_process and not unit.is_dir():
        with whole_unit(unit) as partial:
            digest = hashlib.sha256()
            write_catalogue(partial / CATALOGUE, _hashed(list_images(folder), digest.update))
            write_json(partial / ABOUT, {"fingerprint": digest.hexdigest()})
    accelerator.wait_for_everyone()
    fingerprint = read_json(unit / ABOUT)["fingerprint"]
    return ListedPool(folder, Catalogue(unit / CATALOGUE), fingerprint)


def _hashed(images: Iterator[PoolImage], update: Callable[[bytes], None]) -> Iterator[PoolImage]:
    """Pass the images on; `update` takes what is known of each."""
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
            start: unit_path(
                "retrieve", unit_key(make=_embed, rows=part, clip=self.clip_hash, **decides)
            )
            for start, part in parts.items()
        }
        missing = share_units(self.accelerator, list(parts), lambda start: paths[start].is_dir())
        for start in missing:
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


class NothingFoundError(Exception):
    """No class finds any image."""


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
        NothingFoundError: so it is.
        ValueError: if the given index does not fit.
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
        raise NothingFoundError
    return rows


def _make_index(vectors: np.ndarray | None, pool: ListedPool, embedder: Embedder) -> Path:
    """Return the folder of the pool's index, made unless it lies in the work folder."""
    unit = unit_path(
        "retrieve", unit_key(make=_make_index, index=pool.fingerprint, clip=embedder.clip_hash)
    )
    if not unit.is_dir():
        assert vectors is not None
        index = build_index(vectors)
        with whole_unit(unit) as partial:
            write_index(partial, index, clip=embedder.clip_hash, pool=pool.fingerprint)
    return unit


@dataclass(frozen=True)
class RetrievedImages:
    """What was searched, for whom, and what is kept of each class."""

    pool: ListedPool
    dataset: PreparedDataset
    test: list[Sample]  # what no set may hold: the test images, then the extra ones
    results: list[ClassHits]
    wanted: int  # images of each class that the set should hold
    about: dict[str, str]  # the search and what decided it

    def by_class(self) -> Iterator[tuple[str, ClassHits]]:
        """Yield each class's name and result."""
        yield from zip(self.dataset.class_names, self.results, strict=True)

    def taken(self) -> dict[str, int]:
        """Count the images of each class that the set holds, by its name."""
        return {name: min(self.wanted, len(hits.kept)) for name, hits in self.by_class()}


def _write_blocks(params: RetrieveParams, found: RetrievedImages, blocks: Sequence[Path]) -> int:
    """Cut the ranks into blocks, as the indices of a generated set; returns the images."""
    wanted, num_images = found.wanted, 0
    for number, block in enumerate(blocks):
        start = number * params.images_per_block
        stop = min(start + params.images_per_block, wanted)
        if start >= wanted:
            write_json(block / "index.json", {"num_images": 0})  # as an empty block of `generate`
            continue
        num_classes = len(found.results)
        count = 0
        for shard in plan_shards([ALL], num_classes, params.classes_per_shard, start, stop):
            samples = list(_samples(found, shard))
            if samples:  # a shard of empty classes is none
                count += write_shard(block / shard.name, samples)
        write_json(
            block / "index.json",
            {"num_images": count, "retrieved": {"wanted": wanted, "taken": found.taken()}},
        )
        num_images += count
    return num_images


def _samples(found: RetrievedImages, shard: PlannedShard) -> Iterator[dict[str, Any]]:
    """Yield the samples of a shard as `write_shard` takes them, the best of each class first."""
    for label in shard.class_indices:
        hits = found.results[label].kept[shard.start : shard.stop]
        for index, hit in enumerate(hits, start=shard.start):
            image = found.pool.catalogue.image(hit.row)
            content = read_bytes(found.pool.folder, image)
            extension, encoded = encode_image(content, image.key, None)
            yield {
                "__key__": f"{shard.subset}-{label:04d}-{index:06d}",
                extension: encoded,
                "cls": label,
                "json": {
                    "class_name": found.dataset.class_names[label],
                    "caption": image.caption,
                    "pool_key": image.key,
                    "query": hit.query,
                    "similarity": hit.similarity,
                    **found.about,
                },
            }


def _write_record(found: RetrievedImages, record: Path) -> None:
    """Write what became of the images that each class found."""
    catalogue, taken = found.pool.catalogue, found.taken()
    classes = [
        {
            "class_name": name,
            "found": hits.num_found,
            "in_a_better_class": hits.num_elsewhere,
            "unreadable": hits.num_unreadable,
            "near_duplicates_of_test": hits.num_duplicates,
            "kept": len(hits.kept),
            "taken": taken[name],
        }
        for name, hits in found.by_class()
    ]
    about = {"images": len(catalogue), "captions": catalogue.num_captions()}
    write_json(record / "record.json", {**found.about, "pool_holds": about, "classes": classes})


def _write_pairs(found: RetrievedImages, pairs: Sequence[tuple[int, Pair]], record: Path) -> None:
    """List the pairs of a pool's image, by its row, and a test image, and show the first."""
    rows = []
    for row, pair in pairs:
        image, sample = found.pool.catalogue.image(row), found.test[pair.reference]
        rows.append(
            {
                "pool_key": image.key,
                "caption": image.caption,
                "test": sample.record["name"],
                "similarity": round(pair.similarity, 4),
                "class_name": sample.record["class_name"],
            }
        )
    write_json(record / "near_duplicates.json", rows)
    shown = [
        (found.pool.pixels(row), np.asarray(read_image(found.test[pair.reference])))
        for row, pair in pairs[:PAIRS_SHOWN]
    ]
    if shown:
        (record / "near_duplicates.png").write_bytes(draw_pairs(shown))


def _say_holes(found: RetrievedImages) -> None:
    """Name the classes that have no image, or fewer than wanted."""
    wanted = found.wanted
    short = {name: len(hits.kept) for name, hits in found.by_class() if len(hits.kept) < wanted}
    empty = [name for name, count in short.items() if not count]
    if empty:
        say(f"  no image for {', '.join(empty)} (queries gives other words); the others have some")
    fewer = [f"{name} {count}" for name, count in short.items() if count]
    if fewer:
        say(f"  fewer than {wanted} images for some classes: {', '.join(fewer)}")


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="retrieve", description=__doc__)
    parser.add_argument("--set", required=True, help="a group below `retrieved` in params.yaml")
    for name in ("--real", "--pool", "--clip", "--record"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, help="the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    retrieve(
        RetrieveParams(
            set_name=args.set,
            retrieved=sections.read(RetrievedSettings, f"retrieved.{args.set}"),
            images_per_block=sections.read(int, "generate.images_per_block"),
            classes_per_shard=sections.read(int, "generate.classes_per_shard"),
        ),
        real=args.real,
        pool=args.pool,
        clip=args.clip,
        blocks=block_folders(args.blocks, args.num_blocks),
        record=args.record,
    )
