"""Synthetic sets on disk: subsets, blocks, shards.

A set that sees no real image, or all of them, is the same for every seed: its one subset is `all`.
A set made from k shots has a subset for every seed, `s0`, `s1`, ..., made from that seed's shots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbridge.core.files import hash_file, hash_value, read_json
from synthbridge.core.settings import Sections
from synthbridge.data.manifests import Shots
from synthbridge.data.shards import Sample, index_shard, index_shards, read_image

ALL = "all"


def subset_names(shots: Shots | None, seeds: Sequence[int]) -> dict[str, int]:
    """Return the subsets of a set and the few-shot seed of each."""
    if shots is None or shots == "full":
        return {ALL: 0}
    return {f"s{seed}": seed for seed in seeds}


def seed_of_subset(name: str) -> int:
    """Return the few-shot seed of a subset; 0 of the one that serves every seed."""
    return 0 if name == ALL else int(name.removeprefix("s"))


@dataclass(frozen=True)
class NamedSet:
    """A set as params.yaml names it."""

    name: str | None  # None: no set, real images alone
    shots: Shots | None  # real images a class that it was made from; None: it saw none

    @property
    def method(self) -> str:
        """What the set is called whatever its shots: `dsi` for `dsi_4`."""
        if self.name is None:
            return "real"
        return self.name.removesuffix("" if self.shots is None else f"_{self.shots}")

    def serves(self, shots: Sequence[Shots]) -> list[Shots]:
        """Return those of `shots` whose runs may see the set: one made from k shots serves k."""
        return [k for k in shots if self.shots in (None, k)]


def read_named_set(sections: Sections, name: str | None) -> NamedSet:
    """Read a set's shots from params.yaml; a retrieved set sees no labelled image."""
    if name is None or name in sections.read(list[str], "retrieved_sets"):
        return NamedSet(name, None)
    return NamedSet(name, sections.values["synthetic"][name]["shots"])


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


def block_folders(folder: Path, num_blocks: int) -> list[Path]:
    """List the blocks of a set, which dvc.yaml counts: a folder that is there may be left over."""
    return [folder / f"b{number}" for number in range(num_blocks)]


def check_volume(images_per_class: int, images_per_block: int, num_blocks: int) -> None:
    """Refuse a volume that the blocks cannot hold.

    Raises:
        ValueError: with the rule and the way out.
    """
    capacity = images_per_block * num_blocks
    if images_per_class > capacity:
        raise ValueError(
            f"images_per_class is {images_per_class}, but {num_blocks} blocks of "
            f"{images_per_block} hold {capacity}; raise generate.images_per_block, "
            "or add blocks to dvc.yaml"
        )
    if images_per_class % images_per_block:
        raise ValueError(
            f"images_per_class is {images_per_class}, which is no multiple of "
            f"generate.images_per_block ({images_per_block}); round it, so that a later change "
            "of volume keeps every image"
        )


@dataclass(frozen=True)
class StartImages:
    """The real images that a subset's images start from, written by `invert`."""

    samples: dict[str, Sample]  # by name
    names: dict[int, list[str]]  # by class

    def choose(self, label: int, image_index: int) -> str:
        """Return the name of the image that one starts from: its class's images take turns."""
        own = self.names[label]
        return own[image_index % len(own)]

    def choose_other(self, label: int, image_index: int) -> tuple[int, str]:
        """Return another class and the name of an image of it: classes take turns, then images.

        Raises:
            ValueError: if there is no other class.
        """
        others = [other for other in sorted(self.names) if other != label]
        if not others:
            raise ValueError("mix_gamma mixes two classes, and the data set has one; leave it out")
        turn, place = divmod(image_index, len(others))
        names = self.names[others[place]]
        return others[place], names[turn % len(names)]

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


def synthetic_samples(blocks: Sequence[Path], seed: int, kept: Path | None = None) -> list[Sample]:
    """List the synthetic images that a run with `seed` may see, over all blocks.

    Args:
        blocks: folders of shards.
        seed: of the run.
        kept: what `examine` keeps of the set; None: all.

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
    keys = read_json(kept)["keys"] if kept else None
    if keys is None:
        return samples
    wanted = set(keys)
    return [sample for sample in samples if sample.key in wanted]


def set_samples(blocks: Sequence[Path]) -> list[Sample]:
    """List all images of a set, those of every seed, in order of blocks and shards.

    Raises:
        ValueError: if the blocks hold none.
    """
    shards = [shard for block in blocks for shard in sorted(block.glob("*.tar"))]
    samples = [sample for shard in shards for sample in index_shard(shard)]
    if not samples:
        folders = ", ".join(str(block) for block in blocks)
        raise ValueError(f"no image in {folders}; run 'dvc repro'")
    return samples


def subset_of(sample: Sample) -> str:
    """Return the subset that an image belongs to: its shard is named for it."""
    return sample.shard.name.rpartition("-")[0]


def hash_samples(samples: Sequence[Sample]) -> list[str]:
    """Hash what decides the bytes of `samples`: their shards and, if not all is used, their keys.

    Args:
        samples: what `synthetic_samples` lists.
    """
    shards = sorted({sample.shard for sample in samples})
    hashes = [hash_file(shard) for shard in shards]
    if len(samples) < sum(len(index_shard(shard)) for shard in shards):
        hashes.append(hash_value([sample.key for sample in samples]))
    return hashes
