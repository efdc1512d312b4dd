"""Food-101 (Bossard et al. 2014), as in `food-101.tar.gz`."""

import json
from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_lines, readable


def list_food(raw: Path) -> Listing:
    """List the official split, whose training images are noisy as its authors left them."""
    meta = raw / "food-101/meta"
    classes = {key: readable(key) for key in read_lines(meta / "classes.txt")}
    train, test = (
        [
            (f"food-101/images/{image}.jpg", key)
            for key, images in _read_json(meta / f"{split}.json").items()
            for image in images
        ]
        for split in ("train", "test")
    )
    return Listing(classes, train, test)


def _read_json(path: Path) -> dict[str, list[str]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no list of images ({error}); {UNPACK_AGAIN}") from None
