"""Scikit-learn's handwritten digits, which need no download, and their corrupted test images.

The corrupted images stand in for an extra test set, since no other real digits come without a
download: each test image is changed in one of three stated ways, in turn by its number. That is
what a model meets in another domain, in small and by the same hands. What holds on it need not
hold on real images of another domain.
"""

import io
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from synthbridge.data.settings import DatasetSettings
from synthbridge.data.shards import encode_png
from synthbridge.sources.dataset import RealDataset, RealImage

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_SIDE = 16  # pixels; the originals are 8x8 with 17 levels of grey
BLOCK_START = "0?123456789"  # a writer begins with the digits in their order, three times
BLOCK_GAP = 60  # images between two such rows that lie in different blocks; blocks have about 128
GROUP_NOTE = "blocks of the list, an approximation of its writers"
CORRUPTED = "corrupted"  # what data.digits.extra_test calls it
BLUR_RADIUS = 1.5  # pixels of 16: the standard deviation of the Gaussian
SHIFT = (3, -3)  # pixels of 16: right, up


def load_digits(settings: DatasetSettings, raw: Path) -> RealDataset:
    """Load scikit-learn's 1,797 handwritten digits: the first half for training, the rest for test.

    The halves are contiguous because the images lie in the order of their writers: a random split
    would put the same hands on both sides. The cut lies between two blocks (see `find_blocks`),
    which are the images' groups. Settings and raw folder decide nothing here.
    """
    from sklearn.datasets import load_digits as load_sklearn_digits

    digits: Any = load_sklearn_digits()
    starts = find_blocks(digits.target)
    images = [
        RealImage(
            f"digits/{index:04d}",
            partial(_encode, image),
            int(label),
            f"block {bisect_right(starts, index):02d}",
        )
        for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True))
    ]
    cut = min(starts, key=lambda start: abs(start - len(images) / 2))
    return RealDataset(
        DIGIT_NAMES,
        DIGIT_SIDE,
        train=images[:cut],
        test=images[cut:],
        group_note=GROUP_NOTE,
    )


def find_blocks(labels: Sequence[int]) -> list[int]:
    """Find where the blocks of the list begin, an approximation of where its writers begin.

    Scikit-learn names no writer, but every writer wrote the digits in the same order: from 0 to 9
    three times, then about a hundred in a fixed mixture. A block begins with a row from 0 to 9
    (its 0 may be missing) that follows no other one closely. This finds 14 blocks of 122 to 130
    images; the data set's authors (UCI, optdigits, the test images) speak of 13 writers.
    """
    text = "".join(str(label) for label in labels)
    rows = [match.span() for match in re.finditer(BLOCK_START, text)]
    ends = [-BLOCK_GAP, *(end for _, end in rows)]
    return [start for (start, _), end in zip(rows, ends, strict=False) if start - end >= BLOCK_GAP]


def _encode(image: np.ndarray) -> bytes:
    """Turn an 8x8 digit with values 0..16 into a PNG of 16x16 pixels."""
    small = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    large = small.resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    return encode_png(np.repeat(np.asarray(large)[:, :, None], 3, axis=2))


def corrupt_digits(test: Sequence[RealImage]) -> list[RealImage]:
    """Return every test image once: contrast inverted, blurred or shifted, in turn."""
    ways: tuple[tuple[str, Callable[[Image.Image], Image.Image]], ...] = (
        ("inverted", ImageOps.invert),
        ("blurred", partial(Image.Image.filter, filter=ImageFilter.GaussianBlur(BLUR_RADIUS))),
        ("shifted", _shift),
    )
    images = []
    for number, image in enumerate(test):
        way, change = ways[number % len(ways)]
        name = f"{CORRUPTED}/{way}/{image.name}"
        images.append(replace(image, name=name, read=partial(_read_changed, image, change)))
    return images


def _shift(image: Image.Image) -> Image.Image:
    """Move an image by SHIFT; black, the digits' background, comes in."""
    right, up = SHIFT
    moved = ImageChops.offset(image, right, up)
    moved.paste(0, (0, 0, right, image.height))
    moved.paste(0, (0, image.height + up, image.width, image.height))
    return moved


def _read_changed(image: RealImage, change: Callable[[Image.Image], Image.Image]) -> bytes:
    with Image.open(io.BytesIO(image.read())) as opened:
        return encode_png(np.asarray(change(opened.convert("RGB"))))
