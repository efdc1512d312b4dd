"""Where real images come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from synthbridge.data.shards import encode_png

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_SIDE = 16  # pixels; the originals are 8x8 with 17 levels of grey


@dataclass(frozen=True)
class RealImage:
    """One labelled image before it is put into a shard."""

    name: str  # unique and lasting: where the source keeps it
    image: bytes
    extension: str  # "png" or "jpg"
    label: int


@dataclass(frozen=True)
class RealDataset:
    """A data set with the split that its authors or we gave it."""

    class_names: tuple[str, ...]
    image_size: int  # pixels, the shorter side
    train: list[RealImage]
    test: list[RealImage]


def load_digits() -> RealDataset:
    """Load scikit-learn's 1,797 handwritten digits: the first half for training, the rest for test.

    The halves are contiguous because the images lie in the order of their writers: a random split
    would put the same hands on both sides.
    """
    from sklearn.datasets import load_digits as load_sklearn_digits

    digits: Any = load_sklearn_digits()
    images = [
        RealImage(f"digits/{index:04d}", encode_png(_enlarge(image)), "png", int(label))
        for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True))
    ]
    half = len(images) // 2
    return RealDataset(DIGIT_NAMES, DIGIT_SIDE, train=images[:half], test=images[half:])


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Turn an 8x8 digit with values 0..16 into (16, 16, 3) uint8."""
    small = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    large = small.resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(large)[:, :, None], 3, axis=2)


SOURCES: dict[str, Callable[[], RealDataset]] = {"digits": load_digits}
