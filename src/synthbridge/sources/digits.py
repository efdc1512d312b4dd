"""Scikit-learn's handwritten digits, which need no download."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthbridge.data.settings import DatasetSettings
from synthbridge.data.shards import encode_png
from synthbridge.sources.dataset import RealDataset, RealImage

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_SIDE = 16  # pixels; the originals are 8x8 with 17 levels of grey


def load_digits(settings: DatasetSettings, raw: Path) -> RealDataset:
    """Load scikit-learn's 1,797 handwritten digits: the first half for training, the rest for test.

    The halves are contiguous because the images lie in the order of their writers: a random split
    would put the same hands on both sides. Settings and raw folder decide nothing here.
    """
    from sklearn.datasets import load_digits as load_sklearn_digits

    digits: Any = load_sklearn_digits()
    images = [
        RealImage(f"digits/{index:04d}", partial(_encode, image), int(label))
        for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True))
    ]
    half = len(images) // 2
    return RealDataset(DIGIT_NAMES, DIGIT_SIDE, train=images[:half], test=images[half:])


def _encode(image: np.ndarray) -> bytes:
    """Turn an 8x8 digit with values 0..16 into a PNG of 16x16 pixels."""
    small = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    large = small.resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    return encode_png(np.repeat(np.asarray(large)[:, :, None], 3, axis=2))
