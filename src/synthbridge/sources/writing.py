"""What becomes of a source's images: shards of its splits, classes, manifest, few-shot rankings."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_value, write_json
from synthbridge.data.encoding import encode_image
from synthbridge.data.manifests import few_shot_rankings, hold_out, trim_to_imbalance
from synthbridge.data.real import SPLITS
from synthbridge.data.settings import DatasetSettings
from synthbridge.data.shards import write_shard
from synthbridge.sources.dataset import RealDataset, RealImage

IMAGES_PER_SHARD = 1000


def write_dataset(dataset: RealDataset, out: Path, settings: DatasetSettings) -> dict[str, int]:
    """Write the splits of `dataset` as shards, with its classes, manifest and few-shot rankings.

    Validation is held out of train unless the data set has its own. Train alone becomes
    long-tailed, after that.

    Args:
        dataset: the images of its splits.
        out: the folder to write to.
        settings: of the data set.

    Returns:
        The number of images of each split.
    """
    seed, imbalance = settings.seed, settings.imbalance
    splits = _split(dataset, settings.validation_per_class, seed)
    if imbalance > 1:
        splits["train"] = _trim(splits["train"], len(dataset.class_names), imbalance, seed)
    for split, images in splits.items():
        _write_split(out, split, images, dataset.class_names, settings.max_side)
    kept = _names_by_class(splits["train"], len(dataset.class_names))
    manifest = {split: [image.name for image in images] for split, images in splits.items()}
    counts = {split: len(images) for split, images in splits.items()}
    keys = {"class_keys": list(dataset.class_keys)} if dataset.class_keys else {}
    write_json(out / "few_shot.json", few_shot_rankings(kept, seed))
    tail = _describe_tail(kept, imbalance) if imbalance > 1 else {}
    about = {"splits": manifest, "sha256": hash_value(manifest), **tail}
    if "extra_test" in splits:  # it may lack classes, which are then not tested
        about["num_extra_test_classes"] = len({image.label for image in splits["extra_test"]})
    write_json(out / "manifest.json", about)
    write_json(
        out / "dataset.json",
        {
            "class_names": list(dataset.class_names),
            "image_size": dataset.image_size,
            "flip": settings.flip,
            "counts": counts,
            **keys,
        },
    )
    return counts


def _trim(train: list[RealImage], num_classes: int, imbalance: float, seed: int) -> list[RealImage]:
    names = trim_to_imbalance(_names_by_class(train, num_classes), imbalance, seed)
    kept = {name for names_of_class in names for name in names_of_class}
    return [image for image in train if image.name in kept]


def _describe_tail(names_by_class: list[list[str]], imbalance: float) -> dict[str, Any]:
    """Say in the manifest how many training images each class keeps, in the order of indices."""
    return {"imbalance": imbalance, "train_counts": [len(names) for names in names_by_class]}


def _split(
    dataset: RealDataset, validation_per_class: int, seed: int
) -> dict[str, list[RealImage]]:
    """Return the images of each split; validation is held out of train if it is not given."""
    extra = {} if dataset.extra_test is None else {"extra_test": list(dataset.extra_test)}
    if dataset.validation is not None:
        return {split: list(dataset.splits()[split]) for split in SPLITS} | extra
    names_by_class = _names_by_class(dataset.train, len(dataset.class_names))
    held_out = hold_out(names_by_class, validation_per_class, seed)
    return {
        "train": [image for image in dataset.train if image.name not in held_out],
        "validation": [image for image in dataset.train if image.name in held_out],
        "test": list(dataset.test),
        **extra,
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
