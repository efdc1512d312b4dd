"""Synthetic sets on disk: subsets, blocks, shards.

A set that sees no real image, or all of them, is the same for every seed: its one subset is `all`.
A set made from k shots has a subset for every seed, `s0`, `s1`, ..., made from that seed's shots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbridge.data.manifests import Shots
from synthbridge.data.shards import Sample, index_shard, index_shards, read_image

ALL = "all"


def subset_names(shots: Shots | None, seeds: Sequence[int]) -> dict[str, int]:
    """Return the subsets of a set and the few-shot seed of each."""
    if shots is None or shots == "full":
        return {ALL: 0}
    return {f"s{seed}": seed for seed in seeds}


@dataclass(frozen=True)
class PlannedShard:
    """One shard to make: a range of image indices of a few classes, in one subset."""

    subset: str
    number: int
    class_indices: tuple[int, ...]
    start: int  # first image index of each class
    stop: int

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"{self.subset}-{self.number:05d}.tar"

    @property
    def num_images(self) -> int:
        """Count its images."""
        return len(self.class_indices) * (self.stop - self.start)


def plan_shards(
    subsets: Sequence[str], num_classes: int, classes_per_shard: int, start: int, stop: int
) -> list[PlannedShard]:
    """Cut a block's images into shards, every class and index exactly once a subset."""
    if start == stop:
        return []
    groups = [
        tuple(range(first, min(first + classes_per_shard, num_classes)))
        for first in range(0, num_classes, classes_per_shard)
    ]
    return [
        PlannedShard(subset, number, group, start, stop)
        for subset in subsets
        for number, group in enumerate(groups)
    ]


@dataclass(frozen=True)
class StartImages:
    """The real images that a subset's images start from, written by `invert`."""

    samples: dict[str, Sample]  # by name
    names: dict[int, list[str]]  # by class

    def choose(self, label: int, image_index: int) -> str:
        """Return the name of the image that one starts from: its class's images take turns."""
        own = self.names[label]
        return own[image_index % len(own)]

    def read(self, name: str) -> np.ndarray:
        """Decode an image: (H, W, 3) uint8."""
        return np.asarray(read_image(self.samples[name]))


def read_start_images(path: Path) -> StartImages:
    """List the images of the shard `path`.

    Raises:
        ValueError: if it is no whole tar.
    """
    samples = {sample.record["name"]: sample for sample in index_shard(path)}
    names: dict[int, list[str]] = {}
    for name, sample in samples.items():
        names.setdefault(sample.label, []).append(name)
    return StartImages(samples, names)


def synthetic_samples(blocks: Sequence[Path], seed: int) -> list[Sample]:
    """List the synthetic images that a run with `seed` may see, over all blocks.

    Raises:
        ValueError: if the blocks hold none for this seed.
    """
    samples = []
    for block in blocks:
        for subset in (ALL, f"s{seed}"):
            if any(block.glob(f"{subset}-*.tar")):
                samples += index_shards(block, f"{subset}-*.tar")
    if not samples:
        folders = ", ".join(str(block) for block in blocks)
        raise ValueError(f"no synthetic image for seed {seed} in {folders}; run 'dvc repro'")
    return samples
