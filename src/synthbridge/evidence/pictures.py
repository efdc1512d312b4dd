"""Pictures: the first ones of each class from the real data and from every set, and test images.

On the page they are JPEG, small enough that many classes and photographs stay light.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthbridge.core.files import read_json
from synthbridge.data.shards import Sample, encode_jpeg, index_shard, read_square
from synthbridge.evidence.results import TestedModel

TILE = 64  # pixels: the side of a picture in the grid
TEST_TILE = 96  # of a test image
QUALITY = 85


@dataclass(frozen=True)
class Pictures:
    """What the page shows of the images themselves; empty where no folder was given."""

    class_names: list[str]  # of all classes, by label
    labels: list[int] = field(default_factory=list)  # the classes of the rows of `tiles`
    # "real" or a set -> (rows, pictures, TILE, TILE, 3) uint8
    tiles: dict[str, np.ndarray] = field(default_factory=dict)
    # set -> what the records of its pictures agree on
    provenance: dict[str, dict[str, str]] = field(default_factory=dict)
    bytes_each: dict[str, float] = field(default_factory=dict)  # set -> of a drawn image, on disk
    test: list[Sample] = field(default_factory=list)  # in the order of the predictions

    @property
    def row_names(self) -> list[str]:
        """Name the rows of `tiles`."""
        return [self.class_names[label] for label in self.labels]

    def test_tile(self, index: int) -> np.ndarray:
        """Decode a test image: (TEST_TILE, TEST_TILE, 3) uint8."""
        return read_square(self.test[index], TEST_TILE)


def read_pictures(
    run: TestedModel,
    *,
    real: Path | None,
    blocks: Mapping[str, Path],
    num_classes: int,
    num_each: int,
) -> Pictures:
    """Read the first pictures of classes spread evenly, the names of all, and where tests lie.

    Args:
        run: any, for the labels of its test images.
        real: the prepared data set.
        blocks: by set, a folder of shards.
        num_classes: at most so many are shown.
        num_each: pictures of a class.

    Raises:
        ValueError: if a folder is missing.
    """
    labels = _spread(run.labels, num_classes)
    shards = {} if real is None else {"real": _tars(real, "train-*.tar")}
    shards |= {name: _tars(block, "**/*.tar") for name, block in blocks.items()}
    found = {name: _first_samples(paths, labels, num_each) for name, paths in shards.items()}
    tiles = {
        name: np.stack([_tiles(samples[label], num_each) for label in labels])
        for name, samples in found.items()
    }
    records = {
        name: [sample.record for kept in samples.values() for sample in kept]
        for name, samples in found.items()
    }
    return Pictures(
        class_names=_class_names(run, real, found),
        labels=labels if found else [],
        tiles=tiles,
        provenance={
            name: _common_facts(records[name]) for name in found if name != "real" and records[name]
        },
        bytes_each={name: _bytes_each(shards[name]) for name in blocks if shards[name]},
        test=_test_samples(run, real),
    )


def _spread(labels: np.ndarray, num: int) -> list[int]:
    """Choose classes, spread evenly."""
    found = np.unique(labels)
    rows = np.linspace(0, len(found) - 1, min(num, len(found))).round().astype(int)
    return [int(label) for label in found[rows]]


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


def _class_names(
    run: TestedModel, real: Path | None, found: Mapping[str, Mapping[int, list[Sample]]]
) -> list[str]:
    """Name all classes: as `prepare` does, else as the pictures' records do, else by number."""
    facts = read_json(real / "dataset.json") if real and (real / "dataset.json").is_file() else {}
    if "class_names" in facts:
        return list(facts["class_names"])
    told = {
        sample.label: sample.record["class_name"]
        for samples in found.values()
        for kept in samples.values()
        for sample in kept
        if "class_name" in sample.record
    }
    answers = run.labels if run.answers is None else np.concatenate([run.labels, run.answers])
    return [told.get(label, str(label)) for label in range(int(answers.max()) + 1)]


def _test_samples(run: TestedModel, real: Path | None) -> list[Sample]:
    """List the test images, if they are those that the runs were tested on."""
    paths = [] if real is None else sorted(real.glob("test-*.tar"))
    samples = [sample for path in paths for sample in index_shard(path)]
    is_same = [sample.label for sample in samples] == run.labels.tolist()
    return samples if is_same else []


def _common_facts(records: list[dict[str, Any]]) -> dict[str, str]:
    """Return what all records agree on, and one prompt or caption for an example."""
    facts = {
        name: str(value)
        for name, value in sorted(records[0].items())
        if all(record.get(name) == value for record in records)
    }
    for name in ("prompt", "caption"):
        if name in records[0]:
            facts[name] = f"for example: {records[0][name]}"
    return facts


def _bytes_each(paths: list[Path]) -> float:
    """Weigh an image of the first shard, its share of the tar included."""
    return paths[0].stat().st_size / max(1, len(index_shard(paths[0])))


def data_uri(image: np.ndarray) -> str:
    """Return a picture (H, W, 3) uint8 as JPEG for the page."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, QUALITY)).decode()


def png_as_jpeg(png: bytes) -> str:
    """Return a PNG as JPEG for the page: a tenth of its size where it is a photograph."""
    with Image.open(io.BytesIO(png)) as image:
        return data_uri(np.asarray(image.convert("RGB")))


def strip(tiles: np.ndarray, gap: int = 4) -> np.ndarray:
    """Lay pictures (N, H, W, 3) in a row: (H, N * (W + gap) - gap, 3), on white."""
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)[:, :-gap]
