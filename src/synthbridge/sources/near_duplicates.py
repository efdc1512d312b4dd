"""Images in different splits that look alike: compressed again, resized, or of one series.

They are listed and shown, not taken out: a person must say whether two photographs are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.core.files import write_json
from synthbridge.data.encoding import Inspection, decode_image
from synthbridge.data.looks import find_alike
from synthbridge.data.pair_pictures import PAIRS_SHOWN, draw_pairs
from synthbridge.sources.dataset import RealDataset, RealImage
from synthbridge.sources.inspection import KEEPERS

MAX_PAIRS = 1000  # listed, the most alike; all are counted


@dataclass(frozen=True)
class AlikePair:
    """Two images that look alike: the one of the split that keeps its images, then the other."""

    images: tuple[RealImage, RealImage]
    splits: tuple[str, str]
    similarity: float


def find_across(
    splits: Mapping[str, Sequence[RealImage]], inspections: Mapping[str, Inspection]
) -> list[AlikePair]:
    """Find the pairs of images that lie in different splits and look alike, the most alike first.

    Pairs of the very same pixels are `find_copies`'s.

    Args:
        splits: as they were written.
        inspections: by the image's name.
    """
    placed = [
        (split, image)
        for split in KEEPERS
        for image in splits.get(split, ())
        if inspections[image.name].look is not None
    ]
    looks = [inspections[image.name].look or b"" for _, image in placed]
    pairs = []
    for pair in find_alike(looks) if looks else []:
        (split, image), (other_split, other) = placed[pair.first], placed[pair.second]
        same = inspections[image.name].sha256 == inspections[other.name].sha256
        if split != other_split and not same:
            pairs.append(AlikePair((image, other), (split, other_split), pair.similarity))
    return pairs


def write_pairs(pairs: Sequence[AlikePair], dataset: RealDataset, out: Path) -> None:
    """Write near_duplicates.json and .png to `out`: the pairs by name, the first as pictures."""
    write_json(
        out / "near_duplicates.json",
        {"num_pairs": len(pairs), "pairs": [_describe(p, dataset) for p in pairs[:MAX_PAIRS]]},
    )
    pictures = [(_decode(pair.images[0]), _decode(pair.images[1])) for pair in pairs[:PAIRS_SHOWN]]
    (out / "near_duplicates.png").write_bytes(draw_pairs(pictures))


def _decode(image: RealImage) -> np.ndarray:
    return decode_image(image.read(), image.name)


def _describe(pair: AlikePair, dataset: RealDataset) -> dict[str, Any]:
    keys = dataset.class_keys or dataset.class_names
    return {
        "similarity": round(pair.similarity, 4),
        "images": [
            {"name": image.name, "split": split, "class": keys[image.label]}
            for image, split in zip(pair.images, pair.splits, strict=True)
        ],
    }


def describe_pairs(pairs: Sequence[AlikePair], *, can_group: bool) -> list[str]:
    """Say in a few lines what was found, and the way out."""
    tests = {pair.images[0].name for pair in pairs if "test" in pair.splits}
    lines = [
        f"{len(pairs)} pair(s) of images in different splits look alike, {len(tests)} test images "
        "among them (compressed again, or of one series?): see near_duplicates.json and .png"
    ]
    if can_group:
        lines.append(
            "to keep such images on one side of the split, write group_by: alike (docs/own-data.md)"
        )
    return lines
