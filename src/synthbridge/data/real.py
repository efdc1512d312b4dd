"""A prepared real data set on disk: shards of its splits, classes, few-shot rankings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.data.encoding import encode_image
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
    image_size: int | None
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
    dataset: RealDataset,
    out: Path,
    *,
    flip: bool,
    validation_per_class: int,
    seed: int,
    max_side: int | None = None,
) -> dict[str, int]:
    """Write the splits of `dataset` as shards, with its classes, manifest and few-shot rankings.

    Validation is held out of train unless the data set has its own.

    Args:
        dataset: the images of its splits.
        out: the folder to write to.
        flip: may an image be mirrored in training?
        validation_per_class: images to hold out of each class.
        seed: draws what is held out, and the few-shot rankings.
        max_side: pixels; a shorter side above it is reduced to it.

    Returns:
        The number of images of each split.
    """
    splits = _split(dataset, validation_per_class, seed)
    for split, images in splits.items():
        _write_split(out, split, images, dataset.class_names, max_side)
    kept = _names_by_class(splits["train"], len(dataset.class_names))
    manifest = {split: [image.name for image in images] for split, images in splits.items()}
    counts = {split: len(images) for split, images in splits.items()}
    keys = {"class_keys": list(dataset.class_keys)} if dataset.class_keys else {}
    write_json(out / "few_shot.json", few_shot_rankings(kept, seed))
    write_json(out / "manifest.json", {"splits": manifest, "sha256": hash_value(manifest)})
    write_json(
        out / "dataset.json",
        {
            "class_names": list(dataset.class_names),
            "image_size": dataset.image_size,
            "flip": flip,
            "counts": counts,
            **keys,
        },
    )
    return counts


def _split(
    dataset: RealDataset, validation_per_class: int, seed: int
) -> dict[str, list[RealImage]]:
    """Return the images of each split; validation is held out of train if it is not given."""
    if dataset.validation is not None:
        return {split: list(dataset.splits()[split]) for split in SPLITS}
    names_by_class = _names_by_class(dataset.train, len(dataset.class_names))
    held_out = hold_out(names_by_class, validation_per_class, seed)
    return {
        "train": [image for image in dataset.train if image.name not in held_out],
        "validation": [image for image in dataset.train if image.name in held_out],
        "test": list(dataset.test),
    }


def _names_by_class(images: Sequence[RealImage], num_classes: int) -> list[list[str]]:
    names: list[list[str]] = [[] for _ in range(num_classes)]
    for image in images:
        names[image.label].append(image.name)
    return names


def _write_split(
    out: Path,
    split: str,
    images: list[RealImage],
    class_names: tuple[str, ...],
    max_side: int | None,
) -> None:
    for shard, start in enumerate(range(0, len(images), IMAGES_PER_SHARD)):
        part = enumerate(images[start : start + IMAGES_PER_SHARD], start=start)
        samples = _shard_samples(split, part, class_names, max_side)
        write_shard(out / f"{split}-{shard:05d}.tar", samples)


def _shard_samples(
    split: str,
    images: Iterator[tuple[int, RealImage]],
    class_names: tuple[str, ...],
    max_side: int | None,
) -> Iterator[dict[str, Any]]:
    for index, image in images:
        extension, content = encode_image(image.read(), image.name, max_side)
        yield {
            "__key__": f"{split}-{index:07d}",
            extension: content,
            "cls": image.label,
            "json": {"name": image.name, "class_name": class_names[image.label]},
        }
