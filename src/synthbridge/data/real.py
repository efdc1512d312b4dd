"""A prepared real data set on disk: shards of its splits, classes, few-shot rankings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.data.manifests import Shots, choose_shots, few_shot_rankings, hold_out
from synthbridge.data.shards import Sample, index_shards, write_shard
from synthbridge.data.sources import RealDataset, RealImage
from synthbridge.files import hash_value, read_json, write_json

SPLITS = ("train", "validation", "test")
IMAGES_PER_SHARD = 1000


@dataclass(frozen=True)
class PreparedDataset:
    """What every later stage needs to know of a prepared data set."""

    folder: Path
    class_names: tuple[str, ...]
    image_size: int
    flip: bool
    few_shot_rankings: list[list[list[str]]]

    def samples(self, split: str) -> list[Sample]:
        """List the samples of a split."""
        return index_shards(self.folder, f"{split}-*.tar")

    def train_samples(self, shots: Shots, seed: int) -> list[Sample]:
        """List the training samples that a run may see: all of them, or its k shots.

        Raises:
            ValueError: if a class has fewer than `shots` images.
        """
        train = self.samples("train")
        if shots == "full":
            return train
        assert isinstance(shots, int)
        names = choose_shots(self.few_shot_rankings, self.class_names, shots, seed)
        return [sample for sample in train if sample.record["name"] in names]


def read_dataset(folder: Path) -> PreparedDataset:
    """Read a folder that `prepare` wrote."""
    facts = read_json(folder / "dataset.json")
    return PreparedDataset(
        folder=folder,
        class_names=tuple(facts["class_names"]),
        image_size=facts["image_size"],
        flip=facts["flip"],
        few_shot_rankings=read_json(folder / "few_shot.json"),
    )


def write_dataset(
    dataset: RealDataset, out: Path, *, flip: bool, validation_per_class: int, seed: int
) -> dict[str, int]:
    """Write the splits of `dataset` as shards, with its classes, manifest and few-shot rankings.

    Returns:
        The number of images of each split.
    """
    names_by_class = [
        [image.name for image in dataset.train if image.label == label]
        for label in range(len(dataset.class_names))
    ]
    held_out = hold_out(names_by_class, validation_per_class, seed)
    splits = {
        "train": [image for image in dataset.train if image.name not in held_out],
        "validation": [image for image in dataset.train if image.name in held_out],
        "test": dataset.test,
    }
    for split, images in splits.items():
        _write_split(out, split, images, dataset.class_names)
    kept_by_class = [[name for name in names if name not in held_out] for names in names_by_class]
    manifest = {split: [image.name for image in images] for split, images in splits.items()}
    counts = {split: len(images) for split, images in splits.items()}
    write_json(out / "few_shot.json", few_shot_rankings(kept_by_class, seed))
    write_json(out / "manifest.json", {"splits": manifest, "sha256": hash_value(manifest)})
    write_json(
        out / "dataset.json",
        {
            "class_names": list(dataset.class_names),
            "image_size": dataset.image_size,
            "flip": flip,
            "counts": counts,
        },
    )
    return counts


def _write_split(
    out: Path, split: str, images: list[RealImage], class_names: tuple[str, ...]
) -> None:
    for shard, start in enumerate(range(0, len(images), IMAGES_PER_SHARD)):
        part = enumerate(images[start : start + IMAGES_PER_SHARD], start=start)
        write_shard(out / f"{split}-{shard:05d}.tar", _shard_samples(split, part, class_names))


def _shard_samples(
    split: str, images: Iterator[tuple[int, RealImage]], class_names: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    for index, image in images:
        yield {
            "__key__": f"{split}-{index:07d}",
            image.extension: image.read(),
            "cls": image.label,
            "json": {"name": image.name, "class_name": class_names[image.label]},
        }
