"""FGVC-Aircraft at the level of variants (Maji et al. 2013), as in `fgvc-aircraft-2013b.tar.gz`."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from synthbridge.data.shards import encode_jpeg
from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_lines, read_pairs

BANNER_HEIGHT = 20  # pixels at the bottom of every image


def list_aircraft(raw: Path) -> Listing:
    """List train + val and test; a variant such as `F/A-18` or `Challenger 600` names its class."""
    data = "fgvc-aircraft-2013b/data"
    train, test = (
        [
            (f"{data}/images/{image}.jpg", variant)
            for image, variant in read_pairs(raw / data / f"images_variant_{split}.txt")
        ]
        for split in ("trainval", "test")
    )
    classes = {variant: variant for variant in read_lines(raw / data / "variants.txt")}
    return Listing(classes, train, test, read=read_without_banner)


def read_without_banner(path: Path) -> bytes:
    """Cut the copyright banner off an image and encode it as JPEG.

    The authors' README asks for that before training and testing: the banner names the
    photographer, which may tell of the class, and a style token would learn to draw it.

    Raises:
        ValueError: if the file is no whole image, or no higher than its banner.
    """
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no whole image ({error}); {UNPACK_AGAIN}") from None
    if len(pixels) <= BANNER_HEIGHT:
        raise ValueError(
            f"{path} is {len(pixels)} pixels high, no higher than its banner; {UNPACK_AGAIN}"
        )
    return encode_jpeg(pixels[:-BANNER_HEIGHT], quality=95)
