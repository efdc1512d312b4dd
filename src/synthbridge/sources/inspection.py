"""Decode every image once before anything is written: what is broken is found while it is cheap."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from synthbridge.core.files import require_space
from synthbridge.core.log import progress
from synthbridge.data.encoding import Inspection, inspect_image
from synthbridge.sources.dataset import RealDataset, RealImage

FAULTS_SHOWN = 3


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
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its error is not ignored
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


def check_space(inspections: Iterable[Inspection], out: Path) -> None:
    """Check that the disk holds the shards.

    Raises:
        ValueError: with what is needed and what is free.
    """
    # A tar rounds each of a sample's three files up to 512 bytes and adds a header of 512.
    num_bytes = sum(inspection.num_bytes + 6 * 512 for inspection in inspections)
    require_space(num_bytes, out, f"the shards of {out}")
