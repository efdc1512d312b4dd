"""What the authors' split files say of a data set, before anything is checked against the disk."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthbridge.data.shards import encode_jpeg

Key = int | str  # what the authors call a class in their files: a name, or an id that starts at 1
JPEG_START = b"\xff\xd8"
MAX_NAMED = 3  # classes that an error names before it counts the rest
UNPACK_AGAIN = "it is damaged or of another data set: fetch and unpack it again"


def read_as_jpeg(path: Path) -> bytes:
    """Read an image file as JPEG: some files are PNG, GIF or BMP in spite of their names.

    Raises:
        ValueError: if the file is no image.
    """
    data = path.read_bytes()
    return data if data.startswith(JPEG_START) else encode_jpeg(decode(path, data), quality=95)


def decode(path: Path, data: bytes) -> np.ndarray:
    """Decode the bytes of an image file as RGB, uint8 (H, W, 3).

    Raises:
        ValueError: if they are no whole image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no whole image ({error}); unpack its archive again") from None


@dataclass(frozen=True)
class Listing:
    """The classes and the two splits as the authors list them."""

    classes: Mapping[
        Any, str
    ]  # each class (a `Key`) and its name for prompts, in the order of the labels
    train: Sequence[tuple[str, Key]]  # path below the raw folder, class
    test: Sequence[tuple[str, Key]]
    read: Callable[[Path], bytes] = read_as_jpeg  # makes a JPEG of an image file


def readable(name: str) -> str:
    """Make a name for prompts of one for files: `Black_footed_Albatross` with spaces."""
    return " ".join(name.replace("_", " ").split())


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without empty ones and whatever ends them."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read lines of a word and the rest, which may hold spaces.

    Raises:
        ValueError: if a line has only one word: the file was cut.
    """
    pairs = []
    for line in read_lines(path):
        first, _, rest = line.partition(" ")
        if not rest:
            raise ValueError(f"{path}: the line '{line}' lacks its second part; {UNPACK_AGAIN}")
        pairs.append((first, rest.strip()))
    return pairs


def read_mat(path: Path, *names: str) -> list[np.ndarray]:
    """Read variables of a MATLAB file, each as a flat array.

    Raises:
        ValueError: if the file is damaged or lacks a variable.
    """
    from scipy.io import loadmat  # 0.3 s

    with path.open("rb") as file:
        try:
            variables: dict[str, Any] = loadmat(file, squeeze_me=True)
        except Exception as error:  # scipy raises whatever the damaged byte leads to
            raise ValueError(f"{path} is no MATLAB file ({error}); {UNPACK_AGAIN}") from None
    for name in names:
        if name not in variables:
            raise ValueError(f"{path} has no variable '{name}'; {UNPACK_AGAIN}")
    return [np.atleast_1d(variables[name]) for name in names]


def name_some(phrases: Sequence[str]) -> str:
    """Join the first few of `phrases`, one a class, and count the rest."""
    rest = len(phrases) - MAX_NAMED
    return ", ".join([*phrases[:MAX_NAMED], *([f"{rest} more classes"] if rest > 0 else [])])
