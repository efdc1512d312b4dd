"""Decode every image once before anything is written: what is broken, and what occurs twice.

A fault is found while it is cheap. A test image that was trained on measures memory: two images
are copies if their upright 8-bit RGB pixels are the same. This finds a picture that was saved again
without its metadata, or in another lossless format, which comparing files would miss. It does not
find a JPEG that was compressed again.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbridge.core.files import require_space
from synthbridge.core.log import progress
from synthbridge.data.encoding import Inspection, inspect_image
from synthbridge.sources.dataset import RealDataset, RealImage

FAULTS_SHOWN = 3

# Who keeps an image that occurs twice: test stays as it is, so that results stay comparable. The
# extra test set yields to all others, so that it changes nothing but what it is asked for.
KEEPERS = ("test", "validation", "train", "extra_test")


def inspect_dataset(dataset: RealDataset, max_side: int | None) -> dict[str, Inspection]:
    """Decode all images of a data set, on every core.

    Returns:
        By the image's name, what decoding it told.

    Raises:
        ValueError: naming the images that cannot be used.
    """
    images = [image for split in dataset.splits().values() for image in split]
    faults: list[str] = []

    def inspect(image: RealImage) -> Inspection | None:
        try:
            return inspect_image(image.read(), image.name, max_side)
        except ValueError as error:
            faults.append(str(error))
            return None

    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        # Of odd EXIF and of large images; the error of a far too large one is not ignored.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        inspections = threads.map(inspect, images)
        counted = progress(inspections, total=len(images), what="decoding", unit="image")
        found = dict(zip((image.name for image in images), counted, strict=True))
    if faults:
        shown = "; ".join(sorted(faults)[:FAULTS_SHOWN])
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise ValueError(shown + more)
    return {name: inspection for name, inspection in found.items() if inspection}


def summarise_changes(inspections: Iterable[Inspection]) -> str | None:
    """Say how many images are encoded anew and why; None if none is."""
    changed = [inspection.changes for inspection in inspections if inspection.changes]
    reasons = Counter(change for changes in changed for change in changes)
    if not changed:
        return None
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"{len(changed)} images are encoded anew ({why})"


def describe_damage(inspections: Iterable[Inspection]) -> str | None:
    """Say how many images are damaged in what is not their pixels; None if none is."""
    count = sum(inspection.has_damage for inspection in inspections)
    if not count:
        return None
    return (
        f"{count} image(s) have damaged EXIF, colour profile or text; their pixels are whole, and "
        "they are used"
    )


def check_space(inspections: Iterable[Inspection], out: Path) -> None:
    """Check that the disk holds the shards.

    Raises:
        ValueError: with what is needed and what is free.
    """
    # A tar rounds each of a sample's three files up to 512 bytes and adds a header of 512.
    num_bytes = sum(inspection.num_bytes + 6 * 512 for inspection in inspections)
    require_space(num_bytes, out, f"the shards of {out}")


@dataclass(frozen=True)
class Copy:
    """One image of a group with the same pixels."""

    name: str
    split: str
    class_key: str


def find_copies(dataset: RealDataset, sha256: Mapping[str, str]) -> dict[str, list[Copy]]:
    """Group the images with the same pixels, those of test first.

    Args:
        dataset: the data set.
        sha256: of the pixels, by the image's name.

    Returns:
        By hash, two or more images.
    """
    keys = dataset.class_keys or dataset.class_names
    groups: dict[str, list[Copy]] = {}
    for split in KEEPERS:
        for image in dataset.splits().get(split, ()):
            copy = Copy(image.name, split, keys[image.label])
            groups.setdefault(sha256[image.name], []).append(copy)
    return {digest: copies for digest, copies in groups.items() if len(copies) > 1}


def left_out(copies: Mapping[str, Sequence[Copy]], *, leave_out_copies: bool) -> set[str]:
    """Return the names that leave their split: all copies but the first; test keeps its own.

    Copies within train leave as well: else one could be held out for validation, the other not.

    Args:
        copies: what `find_copies` found.
        leave_out_copies: whether train and validation lose theirs; the extra test set always does.
    """
    losing = ("train", "validation", "extra_test") if leave_out_copies else ("extra_test",)
    return {copy.name for group in copies.values() for copy in group[1:] if copy.split in losing}


def without(dataset: RealDataset, names: set[str]) -> RealDataset:
    """Return the data set without the images called so."""
    kept = {
        split: [image for image in images if image.name not in names]
        for split, images in dataset.splits().items()
    }
    return replace(dataset, **kept)


def describe_copies(copies: Mapping[str, list[Copy]], names_left_out: set[str]) -> list[str]:
    """Say in a few lines what was found and done."""
    across = sum(len({copy.split for copy in group}) > 1 for group in copies.values())
    classes = sum(len({copy.class_key for copy in group}) > 1 for group in copies.values())
    extra = {copy.name for group in copies.values() for copy in group if copy.split == "extra_test"}
    losses = {
        "train and validation": len(names_left_out - extra),
        "the extra test set": len(names_left_out & extra),
    }
    told = [f"{count} copies left out of {split}" for split, count in losses.items() if count]
    done = " and ".join(told) or "they stay"  # all in test, or a published split
    lines = [
        f"{len(copies)} image(s) occur more than once, {across} of them in more than one split: "
        f"{done}, see duplicates.json"
    ]
    if classes:
        lines.append(
            f"{classes} image(s) occur in more than one class: one label must be wrong, "
            "see duplicates.json"
        )
    return lines


def list_copies(copies: Mapping[str, list[Copy]], names_left_out: set[str]) -> list[dict[str, Any]]:
    """Return what duplicates.json holds: one entry for each image that occurs more than once."""
    return [
        {
            "sha256": digest,
            "images": [
                {
                    "name": copy.name,
                    "split": copy.split,
                    "class": copy.class_key,
                    "left_out": copy.name in names_left_out,
                }
                for copy in group
            ],
        }
        for digest, group in sorted(copies.items())
    ]
