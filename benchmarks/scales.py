"""What the benchmarks with two scales share: models and images, the device, the matrix rate.

Miniature: what `dvc repro` made, or a small model of another family. Full: a family as it is
released. Both have random weights where they are not trained, in their real layouts, and a few
images of coarse noise. Random weights draw nothing to look at, in the same time.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from architectures import write_generator
from full_size_stages import write_real_images
from released import FAMILIES, Family
from small_families import SMALL

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Where a scale's generator and its real images lie."""

    generator: Path
    real: Path


MINIATURE = World(Path("data/upstream/generator"), Path("data/real/digits"))


@contextmanager
def open_world(kept: Path | None, family: Family | None) -> Iterator[World]:
    """Yield the miniature that `dvc repro` made, or a family with random weights and noise.

    Args:
        kept: where to make it, and find it another time; None: for the time being.
        family: as it is released, or small; None: the miniature.
    """
    if family is None:
        yield MINIATURE
        return
    with working_folder(kept) as folder:
        if not (folder / "generator/model_index.json").is_file():  # written last
            write_generator(folder / "generator", family)
        if not (folder / "real").is_dir():
            write_real_images(folder, family.image_size)
        yield World(folder / "generator", folder / "real")


def choose_family(name: str | None, scale: str) -> Family | None:
    """Return what a benchmark runs on: released, small, or (None) the miniature of `dvc repro`."""
    if scale == "miniature":
        return SMALL[name]() if name else None
    return FAMILIES[name or "sd-1.5"]


@contextmanager
def working_folder(kept: Path | None) -> Iterator[Path]:
    """Yield `kept`, or a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield (kept or Path(name)).resolve()


@dataclass(frozen=True)
class Product:
    """Products of square matrices in a row: the rate that the limits are taken from."""

    size: int  # rows and columns
    number: int

    @property
    def operations(self) -> int:
        """Count its floating-point operations."""
        return self.number * 2 * self.size**3

    def prepare(self, dtype: torch.dtype) -> Callable[[], None]:
        """Make the matrix, and return what multiplies it."""
        matrix = torch.randn(self.size, self.size, dtype=dtype, device=DEVICE)

        def multiply() -> None:
            for _ in range(self.number):
                torch.mm(matrix, matrix)  # kept nowhere: it is no part of an arm's memory

        return multiply


def choose(scale: str, *, full: T, trial: T, miniature: T | None = None) -> T:
    """Choose how much is run: `full` on a GPU; without one a `trial`, a step of each arm."""
    if scale == "miniature":
        assert miniature is not None
        return miniature
    return full if DEVICE.type == "cuda" else trial
