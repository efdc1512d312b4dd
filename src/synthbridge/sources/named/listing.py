"""What the authors' split files say of a data set, before anything is checked against the disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Key = int | str  # what the authors call a class in their files: a name, or an id that starts at 1
MAX_NAMED = 3  # classes that an error names before it counts the rest
UNPACK_AGAIN = "it is damaged or of another data set: fetch and unpack it again"


@dataclass(frozen=True)
class Listing:
    """The classes and the two splits as the authors list them."""

    classes: Mapping[Any, str]  # each key and its name for prompts, in the order of the labels
    train: Sequence[tuple[str, Key]]  # path below the raw folder, class
    test: Sequence[tuple[str, Key]]
    # Makes an image of a file. Some files called .jpg are PNG, GIF or BMP: they pass as they are.
    read: Callable[[Path], bytes] = Path.read_bytes


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
