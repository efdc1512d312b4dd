"""What the benchmarks with two scales share: models and images, the device, the matrix rate.

Miniature: what `dvc repro` made. Full: Stable Diffusion 1.5 with random weights in its real layout,
and a few images of coarse noise. Random weights draw nothing to look at, in the same time.
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

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Where a scale's generator and its real images lie."""

    generator: Path
    real: Path


MINIATURE = World(Path("data/upstream/generator"), Path("data/real/digits"))


@contextmanager
def open_world(scale: str, kept: Path | None) -> Iterator[World]:
    """Yield the world of a scale; the full one is made in `kept`, or for the time being."""
    if scale == "miniature":
        yield MINIATURE
        return
    with working_folder(kept) as folder:
        if not (folder / "generator/model_index.json").is_file():  # written last
            write_generator(folder / "generator")
        if not (folder / "real").is_dir():
            write_real_images(folder)
        yield World(folder / "generator", folder / "real")


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
