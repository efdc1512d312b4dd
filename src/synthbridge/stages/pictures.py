"""The pictures of a report: the first images of each class, real ones and those of every set."""

from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.data.shards import Sample, index_shard, read_square

TILE = 64  # pixels: the side of a picture in the grid


def read_pictures(
    real: list[Path], sets: dict[str, list[Path]], labels: list[int], num: int
) -> tuple[dict[str, np.ndarray], list[str], dict[str, dict[str, str]]]:
    """Read the first pictures of each class from the real data and from the blocks of every set.

    Returns:
        Pictures (classes, num, TILE, TILE, 3) by set, real first; the names of the classes; and
        for each set what the records of its pictures agree on.
    """
    shards = {}
    if real:
        shards["real"] = [tar for folder in real for tar in _tars(folder, "train-*.tar")]
    for name, blocks in sets.items():
        shards[name] = [tar for block in blocks for tar in _tars(block, "**/*.tar")]
    names = {label: str(label) for label in labels}
    pictures, provenance = {}, {}
    for name, paths in shards.items():
        samples = _first_samples(paths, labels, num)
        pictures[name] = np.stack([_tiles(samples[label], num) for label in labels])
        for label in labels:
            for sample in samples[label]:
                names[label] = sample.record.get("class_name", names[label])
        if name != "real":
            provenance[name] = _shared_facts([s.record for kept in samples.values() for s in kept])
    return pictures, [names[label] for label in labels], provenance


def _tars(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of shards; run 'dvc repro' to make it")
    return sorted(folder.glob(pattern))


def _first_samples(paths: list[Path], labels: list[int], num: int) -> dict[int, list[Sample]]:
    """Return the first `num` samples of each label, opening no more shards than it takes."""
    samples: dict[int, list[Sample]] = {label: [] for label in labels}
    for path in paths:
        for sample in index_shard(path):
            if len(samples.get(sample.label, [None] * num)) < num:
                samples[sample.label].append(sample)
        if all(len(kept) == num for kept in samples.values()):
            break
    return samples


def _tiles(samples: list[Sample], num: int) -> np.ndarray:
    """Decode up to `num` pictures as (num, TILE, TILE, 3) uint8; missing ones are white."""
    tiles = np.full((num, TILE, TILE, 3), 255, np.uint8)
    for index, sample in enumerate(samples):
        tiles[index] = read_square(sample, TILE)
    return tiles


def _shared_facts(records: list[dict[str, Any]]) -> dict[str, str]:
    """Return what all records agree on, and one prompt or caption for an example."""
    if not records:
        return {}
    facts = {
        name: str(value)
        for name, value in sorted(records[0].items())
        if all(record.get(name) == value for record in records)
    }
    for name in ("prompt", "caption"):
        if name in records[0]:
            facts[name] = f"for example: {records[0][name]}"
    return facts
