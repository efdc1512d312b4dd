"""Stage `retrieve`: images of a pool become a set, as the images of a generated set do.

The pool is listed once, its images (or those that captions found) are embedded by CLIP, the best
of each class are kept, and their ranks are cut into the same blocks as a generated set's images.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from synthbridge.clip.embedding import load_clip
from synthbridge.clip.near_duplicates import MAX_PAIRS, Pair
from synthbridge.clip.pool import read_bytes
from synthbridge.clip.retrieval import ClassHits, choose_images
from synthbridge.clip.settings import RetrievedSettings
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample, encode_png, read_image, write_shard
from synthbridge.data.sources.encoding import encode_image
from synthbridge.data.synthetic import ALL, PlannedShard, check_volume, plan_shards
from synthbridge.files import hash_folder, write_json
from synthbridge.progress import StageLog, say
from synthbridge.stages.params import read_params
from synthbridge.stages.pool_search import Embedder, ListedPool, list_pool, search_pool
from synthbridge.stages.processes import start_accelerator

TILE, PAIRS_SHOWN, PAIRS_A_ROW = 64, 32, 4  # of the picture of near-duplicates; pixels a side


@dataclass(frozen=True)
class RetrieveParams:
    """What the stage reads of params.yaml."""

    retrieved: RetrievedSettings
    images_per_block: int
    classes_per_shard: int


@dataclass(frozen=True)
class Found:
    """What was searched, for whom, and what is kept of each class."""

    pool: ListedPool
    dataset: PreparedDataset
    test: list[Sample]  # what no set may hold: the test images, then the extra ones
    results: list[ClassHits]
    about: dict[str, str]  # the search and what decided it

    def by_class(self) -> Iterator[tuple[str, ClassHits]]:
        """Yield each class's name and result."""
        yield from zip(self.dataset.class_names, self.results, strict=True)


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
        f"retrieve: {settings.images_per_class} images a class by {settings.search} from {folder}"
    )
    check_volume(settings.images_per_class, params.images_per_block, len(blocks))
    dataset = read_dataset(real)
    words = class_words(settings.queries, dataset.class_names)
    test = [*dataset.samples("test"), *dataset.extra_test_samples()]
    with start_accelerator() as accelerator:
        model = load_clip(clip, accelerator.device)
        embedder = Embedder(accelerator, model, hash_folder(clip))
        listed = list_pool(accelerator, folder)
        search = search_pool(settings, words, listed, embedder)
        test_vectors = embedder.embed(
            lambda row: np.asarray(read_image(test[row])), range(len(test)), real=hash_folder(real)
        )
        if not search:
            return  # the first process alone writes
        results, pairs = choose_images(
            search.found, search.rows, search.vectors, search.texts, test_vectors,
            duplicates_above=settings.duplicates_above,
            keep_share=settings.keep_share,
            cap=settings.cap,
        )  # fmt: skip
        about = {"search": settings.search, "pool": listed.fingerprint, "clip": embedder.clip_hash}
        found = Found(listed, dataset, test, results, about)
        count = _write_blocks(params, found, blocks)
        _write_record(settings, found, record)
        shown = [(search.rows[pair.query], pair) for pair in pairs[:MAX_PAIRS]]
        _write_pairs(found, shown, record)
    say_holes(settings.images_per_class, found)
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


def _write_blocks(params: RetrieveParams, found: Found, blocks: Sequence[Path]) -> int:
    """Cut the ranks into blocks, as the indices of a generated set; returns the images."""
    wanted, num_images = params.retrieved.images_per_class, 0
    taken = {name: min(wanted, len(hits.kept)) for name, hits in found.by_class()}
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
            {"num_images": count, "retrieved": {"wanted": wanted, "taken": taken}},
        )
        num_images += count
    return num_images


def _samples(found: Found, shard: PlannedShard) -> Iterator[dict[str, Any]]:
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


def _write_record(settings: RetrievedSettings, found: Found, record: Path) -> None:
    """Write what became of the images that each class found."""
    catalogue = found.pool.catalogue
    classes = [
        {
            "class_name": name,
            "found": hits.num_found,
            "in_a_better_class": hits.num_elsewhere,
            "unreadable": hits.num_unreadable,
            "near_duplicates_of_test": hits.num_duplicates,
            "kept": len(hits.kept),
            "taken": min(settings.images_per_class, len(hits.kept)),
        }
        for name, hits in found.by_class()
    ]
    about = {"images": len(catalogue), "captions": catalogue.num_captions()}
    write_json(record / "record.json", {**found.about, "pool_holds": about, "classes": classes})


def _write_pairs(found: Found, pairs: Sequence[tuple[int, Pair]], record: Path) -> None:
    """List the pairs of a pool's image, by its row, and a test image, and show the first."""
    rows = []
    for row, pair in pairs:
        image, sample = found.pool.catalogue.image(row), found.test[pair.reference]
        rows.append({"pool_key": image.key, "caption": image.caption,
                     "test": sample.record["name"], "similarity": round(pair.similarity, 4),
                     "class_name": sample.record["class_name"]})  # fmt: skip
    write_json(record / "near_duplicates.json", rows)
    tiles = []
    for row, pair in pairs[:PAIRS_SHOWN]:
        alike = found.pool.pixels(row), np.asarray(read_image(found.test[pair.reference]))
        tiles.append(np.concatenate([_tile(pixels) for pixels in alike], axis=1))
    if tiles:
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % PAIRS_A_ROW)
        lines = [np.concatenate(tiles[i : i + PAIRS_A_ROW], axis=1)
                 for i in range(0, len(tiles), PAIRS_A_ROW)]  # fmt: skip
        (record / "near_duplicates.png").write_bytes(encode_png(np.concatenate(lines)))


def _tile(pixels: np.ndarray) -> np.ndarray:
    """Cut the centre square as (TILE, TILE, 3) uint8."""
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (TILE, TILE)))


def say_holes(wanted: int, found: Found) -> None:
    """Name the classes that have no image, or fewer than wanted."""
    short = {name: len(hits.kept) for name, hits in found.by_class() if len(hits.kept) < wanted}
    empty = [name for name, count in short.items() if not count]
    if empty:
        say(f"  no image for {', '.join(empty)}; the others go on (queries gives other words)")
    fewer = [f"{name} {count}" for name, count in short.items() if count]
    if fewer:
        say(f"  fewer than {wanted} images for some classes: {', '.join(fewer)}")


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="retrieve", description=__doc__)
    parser.add_argument("--set", required=True, help="a group below `retrieved` in params.yaml")
    for name in ("--real", "--pool", "--clip", "--record"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, nargs="+")
    args = vars(parser.parse_args(arguments))
    params = read_params()
    generate = params.generate
    retrieve(
        RetrieveParams(
            params.retrieved[args.pop("set")], generate.images_per_block, generate.classes_per_shard
        ),
        **args,
    )
