"""Small photographs, and data sets of them in folders and tars."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from synthbridge.data.settings import DatasetSettings

CLASSES = ("AmericanCrow", "house_sparrow", "rook")


def settings(**changes) -> DatasetSettings:
    """Return the settings of a small data set."""
    values = {"source": "folder", "flip": True, "validation_per_class": 1, "seed": 0}
    return DatasetSettings.model_validate({**values, **changes})


def photo(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """Return a smooth random RGB picture of `size` (width, height), different for each seed."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fill(folder: Path, count: int, first_seed: int = 0) -> None:
    """Put `count` JPEGs into `folder`."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index}.jpg").write_bytes(encoded(photo(first_seed + index)))


def class_folders(folder: Path, count: int = 4, first_seed: int = 0) -> Path:
    """Make one folder of `count` JPEGs for each class in `folder`."""
    for number, name in enumerate(CLASSES):
        fill(folder / name, count, first_seed + 100 * number)
    return folder


def folders_with_copies(folder: Path, *, split: bool) -> None:
    """Make 20 JPEGs a class, of which 15 of `rook` are copies of one; perhaps a test split too."""
    train = class_folders(folder / "train" if split else folder, 20)
    if split:
        class_folders(folder / "test", 2, 1000)
    content = (train / "rook" / "0.jpg").read_bytes()
    for number in range(5, 20):
        (train / "rook" / f"{number}.jpg").write_bytes(content)


def write_tar(path: Path, members: Iterable[tuple[str, bytes | None]]) -> Path:
    """Write a tar of names and contents, in their order; a content of None makes a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return path
