"""Shards: tar files in the WebDataset layout, written whole, read at random.

A sample is `KEY.jpg` or `KEY.png` (the image's bytes), `KEY.cls` (its class index) and `KEY.json`
(what is known of it). Any WebDataset reader takes them; we index a tar once and then read any
sample by its offset, so that a few-shot subset or a shuffled epoch costs only what it reads.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthbridge.core.files import whole_file
from synthbridge.data.tars import read_range, read_tar

WAY_OUT = "delete it and run 'dvc checkout' or 'dvc repro' to have it again"


@dataclass(frozen=True)
class Sample:
    """Where one image lies: its shard, the byte range of the image, key, class index, record."""

    shard: Path
    offset: int
    size: int
    key: str
    label: int
    record: dict[str, Any]


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encode a uint8 image (H, W, 3) as JPEG; 4:4:4 keeps the colour of small images."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """Encode a uint8 image (H, W, 3) or (H, W) as PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_shard(path: Path, samples: Iterable[dict[str, Any]]) -> int:
    """Write `samples` to the tar `path`, whole or not at all; the same samples give the same bytes.

    Args:
        path: the tar to make.
        samples: each `{"__key__": str, "jpg" or "png": bytes, "cls": int, "json": dict}`.

    Returns:
        The number of samples.
    """
    from webdataset.writer import TarWriter  # 1.4 s: it imports torch

    num_samples = 0
    # A fixed mtime and owner: without them every run changes every hash.
    fixed = {"mtime": 0, "user": "", "group": ""}
    with whole_file(path) as partial, TarWriter(str(partial), encoder=False, **fixed) as tar:
        for sample in samples:
            record = json.dumps(sample["json"], sort_keys=True, ensure_ascii=False)
            tar.write({**sample, "cls": str(sample["cls"]).encode(), "json": record.encode()})
            num_samples += 1
    return num_samples


def index_shard(path: Path) -> list[Sample]:
    """List the samples of one shard in its order, without decoding an image.

    Raises:
        ValueError: if the tar is truncated, or a sample lacks its image, class or record.
    """
    facts = path.stat()
    return list(_index_shard(path, facts.st_size, facts.st_mtime_ns))


@cache  # every run of a stage asks for the same shards
def _index_shard(path: Path, _size: int, _mtime: int) -> list[Sample]:
    found = read_tar(path, ("cls", "json"), WAY_OUT)
    if not found:
        raise ValueError(f"{path} holds no sample; {WAY_OUT}")
    samples = []
    for key, parts in found.items():
        if len(parts.images) != 1:
            raise ValueError(
                f"{path}: sample '{key}' has {len(parts.images)} images, not one; {WAY_OUT}"
            )
        missing = [extension for extension in ("cls", "json") if extension not in parts.texts]
        if missing:
            raise ValueError(f"{path}: sample '{key}' has no .{missing[0]}; {WAY_OUT}")
        label, record = int(parts.texts["cls"]), json.loads(parts.texts["json"])
        samples.append(Sample(path, *parts.images[0], key, label, record))
    return samples


def index_shards(folder: Path, pattern: str = "*.tar") -> list[Sample]:
    """List the samples of all shards in `folder` that match `pattern`, in order of their names.

    Raises:
        ValueError: if there is none.
    """
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise ValueError(f"{folder} holds no shard '{pattern}'; run 'dvc repro' to make it")
    return [sample for path in paths for sample in index_shard(path)]


def read_image_bytes(sample: Sample) -> bytes:
    """Read the encoded image of `sample` from its shard."""
    return read_range(sample.shard, sample.offset, sample.size)


def read_image(sample: Sample) -> Image.Image:
    """Decode the image of `sample` as RGB.

    Raises:
        ValueError: if the bytes are no whole image; names the sample and its shard.
    """
    try:
        with Image.open(io.BytesIO(read_image_bytes(sample))) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise _unreadable(sample, error) from None


def _unreadable(sample: Sample, error: Exception) -> ValueError:
    return ValueError(f"{sample.shard}: image '{sample.key}' cannot be read ({error}); {WAY_OUT}")


def read_square(sample: Sample, size: int) -> np.ndarray:
    """Decode `sample`, resize its shorter side to `size` and cut the centre.

    Returns:
        (size, size, 3) uint8.

    Raises:
        ValueError: if the bytes are no whole image.
    """
    return _cut_centre(read_image(sample), size, (size, size))


# Chosen: a panorama loses what lies beyond, so that it takes at most three times a square's memory.
LONGEST_SIDE = 3  # shorter sides


def read_whole(sample: Sample, size: int) -> np.ndarray:
    """Decode `sample` in its shape, with a shorter side of `size` pixels.

    Returns:
        (*whole_sides(sample, size), 3) uint8.

    Raises:
        ValueError: if the bytes are no whole image.
    """
    image = read_image(sample)
    return _cut_centre(image, size, _limited(_reduced(image.size, size), size))


def whole_sides(sample: Sample, size: int) -> tuple[int, int]:
    """Return the height and width in which `read_whole` gives `sample`; only its head is read.

    Raises:
        ValueError: if the bytes are no image.
    """
    try:
        with Image.open(io.BytesIO(read_image_bytes(sample))) as image:
            wide, high = _limited(_reduced(image.size, size), size)
            return high, wide
    except (OSError, SyntaxError) as error:
        raise _unreadable(sample, error) from None


def _reduced(sides: tuple[int, int], size: int) -> tuple[int, int]:
    """Return width and height of an image after its shorter side has become `size`."""
    scale = size / min(sides)
    return max(size, round(sides[0] * scale)), max(size, round(sides[1] * scale))


def _limited(sides: tuple[int, int], size: int) -> tuple[int, int]:
    return min(sides[0], LONGEST_SIDE * size), min(sides[1], LONGEST_SIDE * size)


def _cut_centre(image: Image.Image, size: int, kept: tuple[int, int]) -> np.ndarray:
    """Resize the shorter side to `size` and cut the centre of `kept` width and height."""
    reduced = _reduced(image.size, size)
    if reduced != image.size:
        image = image.resize(reduced, Image.Resampling.BICUBIC)
    left, top = (reduced[0] - kept[0]) // 2, (reduced[1] - kept[1]) // 2
    return np.asarray(image.crop((left, top, left + kept[0], top + kept[1])))
