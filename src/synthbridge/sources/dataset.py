"""What a source of real images gives: labelled images in splits that fit one another.

A source that knows its classes and splits makes a `RealDataset` itself. The forms of one's own
data hand labelled files to `build_dataset`, which orders the classes and holds out a test split
where none is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthbridge.data.manifests import rank_by_hash
from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.names import class_names, natural_order, order_keys

# What people call splits, and what we call them.
SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class RealImage:
    """One labelled image before it is put into a shard."""

    name: str  # unique and lasting: where the source keeps it
    read: Callable[[], bytes]  # returns the image file's bytes, of any format; called twice
    label: int  # index into the class names


@dataclass(frozen=True)
class RealDataset:
    """A data set with the split that its authors or we gave it."""

    class_names: tuple[str, ...]  # as prompts name them; a class is its index here
    image_size: int | None  # pixels, the shorter side; None: as the images are
    train: Sequence[RealImage]
    test: Sequence[RealImage]
    validation: Sequence[RealImage] | None = None  # None: held out of train
    class_keys: tuple[str, ...] | None = None  # as the source names its classes (folder, label)
    leave_out_copies: bool = False  # train loses images that occur twice; a published split keeps
    extra_test: Sequence[RealImage] | None = None  # of the same classes, from another domain

    def splits(self) -> dict[str, Sequence[RealImage]]:
        """Return the splits that were given, by name."""
        validation = {} if self.validation is None else {"validation": self.validation}
        extra = {} if self.extra_test is None else {"extra_test": self.extra_test}
        return {"train": self.train, **validation, "test": self.test, **extra}


@dataclass(frozen=True)
class LabelledFile:
    """An image file with its class and split, as a source of one's own data finds it."""

    name: str  # unique and lasting: its path below the raw folder
    read: Callable[[], bytes]
    key: str  # the class's folder or label
    split: str = "train"  # "train", "validation" or "test"


def build_dataset(
    files: Sequence[LabelledFile],
    settings: DatasetSettings,
    raw: Path,
    *,
    keys: Sequence[str] | None = None,
) -> RealDataset:
    """Number the classes, hold out a test split where none is given, and check what came out.

    Args:
        files: the images in any order.
        settings: the data set's group in params.yaml.
        raw: the folder data/raw/NAME, for names.yaml and for errors.
        keys: the classes in an order that a file states; None: in natural order.

    Raises:
        ValueError: if the classes and splits do not fit one another or the settings.
    """
    keys = order_keys(file.key for file in files) if keys is None else tuple(keys)
    if len(keys) < 2:
        raise ValueError(f"{raw} holds {len(keys)} class; a classifier needs two or more")
    labels = {key: label for label, key in enumerate(keys)}
    splits: dict[str, list[RealImage]] = {"train": [], "validation": [], "test": []}
    for file in sorted(files, key=lambda file: natural_order(file.name)):
        splits[file.split].append(RealImage(file.name, file.read, labels[file.key]))
    if _holds_out_test(bool(splits["test"]), settings, raw):
        splits["test"] = _held_out(splits["train"], keys, settings)
        held_out = {image.name for image in splits["test"]}
        splits["train"] = [image for image in splits["train"] if image.name not in held_out]
    dataset = RealDataset(
        class_names(keys, raw),
        settings.max_side,
        train=splits["train"],
        test=splits["test"],
        validation=splits["validation"] or None,
        class_keys=keys,
        leave_out_copies=True,
    )
    check_classes(dataset, settings.validation_per_class)
    return dataset


def _holds_out_test(is_given: bool, settings: DatasetSettings, raw: Path) -> bool:
    """Say whether a test split is to be held out of train.

    Raises:
        ValueError: if there is neither a test split nor its size, or both.
    """
    setting = f"data.{raw.name}.test_per_class"
    if is_given and settings.test_per_class is not None:
        raise ValueError(
            f"params.yaml: {setting} is {settings.test_per_class}, but {raw} has a test split "
            "of its own; remove the setting"
        )
    if not is_given and settings.test_per_class is None:
        raise ValueError(
            f"{raw} has no test split; say in params.yaml with {setting} how many images of each "
            "class to hold out as test, or name the split"
        )
    return not is_given


def _held_out(
    train: Sequence[RealImage], keys: Sequence[str], settings: DatasetSettings
) -> list[RealImage]:
    """Choose `test_per_class` images of every class by a salted hash of their names."""
    assert settings.test_per_class is not None
    by_name = {image.name: image for image in train}
    chosen: list[RealImage] = []
    for label, key in enumerate(keys):
        names = [image.name for image in train if image.label == label]
        if len(names) <= settings.test_per_class:
            raise ValueError(
                f"test_per_class is {settings.test_per_class}, but class '{key}' has only "
                f"{len(names)} images; lower test_per_class or add images"
            )
        ranked = rank_by_hash(names, f"test-{settings.seed}")
        chosen += [by_name[name] for name in ranked[: settings.test_per_class]]
    return chosen


def check_classes(dataset: RealDataset, validation_per_class: int) -> None:
    """Check that every split holds every class, and that train is large enough.

    Raises:
        ValueError: naming the class and the split.
    """
    keys = dataset.class_keys or dataset.class_names
    own = {name: images for name, images in dataset.splits().items() if name != "extra_test"}
    counts = {split: [0] * len(keys) for split in own}  # images of each class
    for split, images in own.items():
        for image in images:
            counts[split][image.label] += 1
    for label, key in enumerate(keys):
        for split in counts:
            if not counts[split][label]:
                have = " and ".join(other for other in counts if counts[other][label])
                raise ValueError(
                    f"class '{key}' has no image in {split}"
                    f"{f', only in {have}' if have else ''}; every split needs every class"
                )
        needed = 1 if dataset.validation is not None else validation_per_class + 1
        if counts["train"][label] < needed:
            raise ValueError(
                f"validation_per_class is {validation_per_class}, but class '{key}' has only "
                f"{counts['train'][label]} training images and must keep one; "
                "lower validation_per_class or add images"
            )
