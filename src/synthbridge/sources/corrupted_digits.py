"""A stand-in for an extra test set: the digits' own test images, corrupted.

No other real digits come without a download. So each test image is changed in one of three stated
ways, by its number in turn: what a model meets in another domain, in small, with the same hands.
What holds on it need not hold on real images of another domain.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from synthbridge.data.shards import encode_png
from synthbridge.sources.dataset import RealImage

CORRUPTED = "corrupted"  # what data.digits.extra_test calls it
BLUR_RADIUS = 1.5  # pixels of 16: the standard deviation of the Gaussian
SHIFT = (3, -3)  # pixels of 16: right, up


def corrupt_digits(test: Sequence[RealImage]) -> list[RealImage]:
    """Return every test image once: contrast inverted, blurred or shifted, in turn."""
    ways: tuple[tuple[str, Callable[[Image.Image], Image.Image]], ...] = (
        ("inverted", ImageOps.invert),
        ("blurred", partial(Image.Image.filter, filter=ImageFilter.GaussianBlur(BLUR_RADIUS))),
        ("shifted", _shift),
    )
    images = []
    for number, image in enumerate(test):
        name, change = ways[number % len(ways)]
        images.append(
            RealImage(
                f"{CORRUPTED}/{name}/{image.name}", partial(_read, image, change), image.label
            )
        )
    return images


def _shift(image: Image.Image) -> Image.Image:
    """Move an image by SHIFT; black, the digits' background, comes in."""
    right, up = SHIFT
    moved = ImageChops.offset(image, right, up)
    moved.paste(0, (0, 0, right, image.height))
    moved.paste(0, (0, image.height + up, image.width, image.height))
    return moved


def _read(image: RealImage, change: Callable[[Image.Image], Image.Image]) -> bytes:
    with Image.open(io.BytesIO(image.read())) as opened:
        return encode_png(np.asarray(change(opened.convert("RGB"))))
