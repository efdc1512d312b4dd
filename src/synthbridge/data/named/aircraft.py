"""FGVC-Aircraft at the level of variants (Maji et al. 2013), as in `fgvc-aircraft-2013b.tar.gz`."""

from pathlib import Path

from synthbridge.data.named.listing import Listing, decode, read_lines, read_pairs
from synthbridge.data.shards import encode_jpeg

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

    Its authors ask for that before training and testing: the banner names the photographer, who
    says something of the class, and a style token would learn to draw it.

    Raises:
        ValueError: if the file is no image, or no higher than its banner.
    """
    image = decode(path, path.read_bytes())
    if len(image) <= BANNER_HEIGHT:
        raise ValueError(
            f"{path} is {len(image)} pixels high, and {BANNER_HEIGHT} of them are its banner; "
            "unpack its archive again"
        )
    return encode_jpeg(image[:-BANNER_HEIGHT], quality=95)
