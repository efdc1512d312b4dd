"""A look at a folder that nobody has described: which form it has, and what lies in it."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from PIL import Image

from synthbridge.core.files import require_space
from synthbridge.core.log import progress
from synthbridge.data.encoding import decode_image
from synthbridge.data.found_files import list_folder
from synthbridge.data.settings import DatasetSettings, Source
from synthbridge.sources.dataset import (
    NoTestSplitError,
    RealDataset,
    RealImage,
    check_classes,
)
from synthbridge.sources.folders import are_splits, list_groups, mixed_names
from synthbridge.sources.hub_datasets import HUB_FILE
from synthbridge.sources.inspection import Copy, find_copies, inspect_dataset, left_out, without
from synthbridge.sources.lists import LISTS
from synthbridge.sources.loading import load_dataset

ZIPS = (".zip",)
TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
DAMAGES = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
ENCRYPTED = 1  # the bit of a zip's flags
LOOKED_AT = 300  # images whose sizes and colours are read, evenly over the data set
COLOUR = 8  # levels of 256 between channels, at the mean of an image, above which it has colour


@dataclass(frozen=True)
class Form:
    """Where a data set begins, and what reads it."""

    folder: Path
    source: Source
    group_by: Literal["folder"] | None = None


@dataclass(frozen=True)
class Look:
    """What lies in a data set, before it is split."""

    names: tuple[str, ...]  # of the classes, as prompts would say them
    keys: tuple[str, ...]  # as the folder names them
    counts: dict[str, tuple[int, ...]]  # split -> images of each class
    is_split: bool  # has a test split of its own
    num_copies: int  # images with the pixels of another one
    sizes: tuple[tuple[int, int], ...]  # (width, height) of the images looked at
    grey: float  # fraction of them without colour
    num_lost: tuple[int, ...]  # of each class's learnable images, copies that `prepare` leaves out

    @property
    def learnable(self) -> tuple[int, ...]:
        """Images of each class that training, and what has no split yet, are taken from."""
        parts = [self.counts[part] for part in (("train",) if self.is_split else ("train", "test"))]
        have = map(sum, zip(*parts, strict=True))
        return tuple(count - lost for count, lost in zip(have, self.num_lost, strict=True))

    @property
    def has_validation(self) -> bool:
        """Say whether the data set has a held-out split of its own."""
        return "validation" in self.counts

    @property
    def short_side(self) -> float:
        """Pixels, the median."""
        return median(min(size) for size in self.sizes)

    @property
    def stretch(self) -> float:
        """The longer side over the shorter one, the median."""
        return median(max(size) / min(size) for size in self.sizes)


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or a tar of a data set; nothing is written outside `into`.

    Raises:
        ValueError: if it is neither, is damaged or encrypted, or the disk is too small.
    """
    name = archive.name.lower()
    try:
        if name.endswith(ZIPS):
            _unpack_zip(archive, into)
        elif name.endswith(TARS):
            _unpack_tar(archive, into)
        else:
            raise ValueError(f"{archive} is no folder, zip or tar; name the folder of your images")
    except NotImplementedError as error:  # a zip's method or version that Python does not know
        raise ValueError(
            f"{archive} cannot be unpacked ({error}); unpack it yourself and name the folder"
        ) from None
    except (*DAMAGES, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise
        fault = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise ValueError(f"{archive} cannot be unpacked ({fault}); copy it again") from None


def _unpack_zip(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        if any(each.flag_bits & ENCRYPTED for each in members):
            raise ValueError(
                f"{archive} is encrypted; unpack it yourself with its password and name the folder"
            )
        require_space(sum(each.file_size for each in members), into, str(archive))
        file.extractall(into)  # it leaves out what leads elsewhere


def _unpack_tar(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as file:
        require_space(sum(each.size for each in file), into, str(archive))
        file.extractall(into, filter="data")
        assert file.fileobj is not None
        while file.fileobj.read(2**20):  # the check sum of a .gz stands at its end
            pass


def find_form(folder: Path) -> Form:
    """Say what form a folder has; a level that holds one folder alone is passed.

    Raises:
        ValueError: if it is none that `prepare` reads.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist; name the folder of your images")
    entries = list_folder(folder)
    names = {path.name for path in entries}
    if HUB_FILE in names:
        return Form(folder, "huggingface")
    if names & set(LISTS):
        return Form(folder, "csv")
    if any(path.suffix.lower() == ".tar" for path in entries):
        return Form(folder, "webdataset")
    folders = [path for path in entries if path.is_dir()]
    if not folders:
        raise ValueError(
            f"{folder} holds no class folder, no {' or '.join(LISTS)}, no {HUB_FILE} and no .tar; "
            "give each class a folder of images (docs/own-data.md shows the other forms)"
        )
    if len(folders) == 1 and any(path.is_dir() for path in list_folder(folders[0])):
        return find_form(folders[0])
    return Form(folder, "folder", _groups_in(folders))


def _groups_in(folders: Sequence[Path]) -> Literal["folder"] | None:
    """Say whether the images of classes lie in folders of groups."""
    if mixed_names(folders):  # classes in splits, one of which has a name of its own
        return None
    if are_splits(folders):
        folders = [path for split in folders for path in list_folder(split) if path.is_dir()]
    inside = [path for folder in folders for path in list_groups(folder)]
    return "folder" if inside and all(path.is_dir() for path in inside) else None


def look(form: Form, settings: DatasetSettings) -> Look:
    """Read a data set once, as `prepare` will, and count what lies in it.

    Args:
        form: where it lies.
        settings: of its group; held-out counts in it do not matter.

    Raises:
        ValueError: naming what `prepare` would refuse.
    """
    dataset, is_split = _load(form, settings)
    inspections = inspect_dataset(dataset, settings.max_side)
    pool = dataset if is_split else replace(dataset, train=[*dataset.train, *dataset.test], test=())
    copies = find_copies(pool, {name: found.sha256 for name, found in inspections.items()})
    lost = _lost(copies, pool, is_split=is_split)
    if is_split:
        check_classes(without(dataset, lost), 1)
    num_lost = Counter(image.label for image in pool.train if image.name in lost)
    shown = _evenly([image for images in dataset.splits().values() for image in images])
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        seen = progress(
            threads.map(_size_and_colour, shown), total=len(shown), what="looking", unit="image"
        )
        sizes, grey = zip(*seen, strict=True)
    labels = range(len(dataset.class_names))
    counted = {
        split: Counter(image.label for image in images)
        for split, images in dataset.splits().items()
    }
    return Look(
        names=dataset.class_names,
        keys=dataset.class_keys or dataset.class_names,
        counts={split: tuple(count[label] for label in labels) for split, count in counted.items()},
        is_split=is_split,
        num_copies=sum(len(group) - 1 for group in copies.values()),
        sizes=tuple(sizes),
        grey=sum(grey) / len(grey),
        num_lost=tuple(num_lost[label] for label in labels),
    )


def _lost(
    copies: Mapping[str, Sequence[Copy]], dataset: RealDataset, *, is_split: bool
) -> set[str]:
    """Name the copies that `prepare` leaves out, at worst.

    Which image of several it keeps is known only after the split: where they are of two classes,
    each class may lose its own.
    """
    lost = left_out(copies, leave_out_copies=dataset.leave_out_copies)
    if is_split:
        return lost
    torn = [group for group in copies.values() if len({copy.class_key for copy in group}) > 1]
    return lost | {copy.name for group in torn for copy in group}


def _load(form: Form, settings: DatasetSettings) -> tuple[RealDataset, bool]:
    """Read a data set with as little held out as can be; say whether it has a test split."""
    least = settings.model_copy(update={"validation_per_class": 1, "test_per_class": None})
    try:
        return load_dataset(least, form.folder), True
    except NoTestSplitError:
        least = least.model_copy(update={"test_per_class": 1})
        return load_dataset(least, form.folder), False


def _evenly(images: Sequence[RealImage]) -> list[RealImage]:
    return list(images[:: -(-len(images) // LOOKED_AT)])


def _size_and_colour(image: RealImage) -> tuple[tuple[int, int], bool]:
    """Return an upright image's size, and whether it is grey."""
    pixels = decode_image(image.read(), image.name)
    small = np.asarray(Image.fromarray(pixels).resize((32, 32)), dtype=int)
    height, width = pixels.shape[:2]
    return (width, height), bool(np.ptp(small, axis=2).mean() < COLOUR)
