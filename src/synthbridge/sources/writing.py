"""What becomes of a source's images: shards of its splits, classes, manifest, few-shot rankings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_value, write_json
from synthbridge.core.log import say
from synthbridge.data.encoding import encode_image
from synthbridge.data.manifests import few_shot_rankings, hold_out, trim_to_imbalance
from synthbridge.data.real import SPLITS
from synthbridge.data.settings import DatasetSettings
from synthbridge.data.shards import write_shard
from synthbridge.sources.dataset import RealDataset, RealImage, validation_groups

IMAGES_PER_SHARD = 1000


def write_dataset(
    dataset: RealDataset, out: Path, settings: DatasetSettings
) -> dict[str, list[RealImage]]:
    """Write the splits of `dataset` as shards, with its classes, manifest and few-shot rankings.

    Validation is held out of train unless the data set has its own. Train alone becomes
    long-tailed, after that.

    Args:
        dataset: the images of its splits.
        out: the folder to write to.
        settings: of the data set.

    Returns:
        The images of each split.
    """
    seed, imbalance = settings.seed, settings.imbalance
    splits = _split(dataset, settings)
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
            **_describe_groups(splits, dataset.group_note),
        },
    )
    return splits


def _trim(train: list[RealImage], num_classes: int, imbalance: float, seed: int) -> list[RealImage]:
    names = trim_to_imbalance(_names_by_class(train, num_classes), imbalance, seed)
    kept = {name for names_of_class in names for name in names_of_class}
    return [image for image in train if image.name in kept]


def _describe_tail(names_by_class: list[list[str]], imbalance: float) -> dict[str, Any]:
    """Say in the manifest how many training images each class keeps, in the order of indices."""
    return {"imbalance": imbalance, "train_counts": [len(names) for names in names_by_class]}


def _split(dataset: RealDataset, settings: DatasetSettings) -> dict[str, list[RealImage]]:
    """Return the images of each split; validation is held out of train if it is not given."""
    extra = {} if dataset.extra_test is None else {"extra_test": list(dataset.extra_test)}
    if dataset.validation is not None:
        return {split: list(dataset.splits()[split]) for split in SPLITS} | extra
    held_out = _held_out(dataset, settings)
    return {
        "train": [image for image in dataset.train if image.name not in held_out],
        "validation": [image for image in dataset.train if image.name in held_out],
        "test": list(dataset.test),
        **extra,
    }


def _held_out(dataset: RealDataset, settings: DatasetSettings) -> set[str]:
    """Choose the validation images: whole groups, where groups are known and can fill it."""
    num_classes = len(dataset.class_names)
    if dataset.has_groups:
        groups = validation_groups(dataset.train, num_classes, settings)
        if groups is not None:
            return {image.name for image in dataset.train if image.group in groups}
        say("  whole groups cannot fill validation: it shares groups with train")
    names_by_class = _names_by_class(dataset.train, num_classes)
    return hold_out(names_by_class, settings.validation_per_class, settings.seed)


def _describe_groups(splits: Mapping[str, list[RealImage]], note: str | None) -> dict[str, Any]:
    """Say in dataset.json how many groups each split has; nothing where no group is known."""
    groups = {split: {image.group for image in splits[split]} for split in SPLITS}
    if None in groups["test"]:
        return {}
    shared = [group for group, times in Counter(chain(*groups.values())).items() if times > 1]
    counts = {split: len(names) for split, names in groups.items()}
    said = ", ".join(f"{count} in {split}" for split, count in counts.items())
    beyond = f"; {len(shared)} of them lie in more than one split" if shared else ""
    say(f"  groups of images: {said}{beyond}")
    return {"num_groups": counts, "num_shared_groups": len(shared), "group_note": note}


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
        group = {} if image.group is None else {"group": image.group}
        yield {
            "__key__": f"{split}-{index:07d}",
            extension: content,
            "cls": image.label,
            "json": {"name": image.name, "class_name": class_names[image.label], **group},
        }
