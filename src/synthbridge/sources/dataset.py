"""What a source of real images gives: labelled images in splits that fit one another.

A source that knows its classes and splits makes a `RealDataset` itself. The forms of one's own
data hand labelled files to `build_dataset`, which orders the classes and holds out a test split
where none is given.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthbridge.core.log import say
from synthbridge.data.manifests import hold_out_groups, rank_by_hash
from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.groups import name_groups
from synthbridge.sources.names import class_names, natural_order, order_keys

# What people call splits, and what we call them.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


class NoTestSplitError(ValueError):
    """A data set has no test split, and nobody says how many images of each class to hold out."""


@dataclass(frozen=True)
class RealImage:
    """One labelled image before it is put into a shard."""

    name: str  # unique and lasting: where the source keeps it
    read: Callable[[], bytes]  # returns the image file's bytes, of any format; called twice
    label: int  # index into the class names
    group: str | None = None  # images that belong together: one writer, object, burst of a camera


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
    group_note: str | None = None  # what a reader must know of the groups

    @property
    def has_groups(self) -> bool:
        """Say whether images name their groups: all of a data set do, or none."""
        return any(image.group is not None for image in self.train)

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
    group: str | None = None


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
    keys = _order_classes(files, keys, raw)
    files = _with_groups(files, settings, raw)
    labels = {key: label for label, key in enumerate(keys)}
    splits: dict[str, list[RealImage]] = {"train": [], "validation": [], "test": []}
    for file in sorted(files, key=lambda file: natural_order(file.name)):
        image = RealImage(file.name, file.read, labels[file.key], file.group)
        splits[file.split].append(image)
    _check_groups([image for images in splits.values() for image in images])
    if _holds_out_test(bool(splits["test"]), settings, raw):
        test = _held_out(splits["train"], keys, settings, validates=not splits["validation"])
        splits["test"] = [image for image in splits["train"] if image.name in test]
        splits["train"] = [image for image in splits["train"] if image.name not in test]
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


def _order_classes(
    files: Sequence[LabelledFile], keys: Sequence[str] | None, raw: Path
) -> tuple[str, ...]:
    """Return the classes in the order of their indices.

    Raises:
        ValueError: if a name is no UTF-8, or the classes are no two that differ.
    """
    for file in files:
        try:
            f"{file.name}{file.key}".encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"image {file.name!a} has a name or class that is no UTF-8; rename it"
            ) from None
    present = {file.key for file in files}
    if keys is None:
        _check_spelling(files)
        keys = order_keys(present)
    if empty := [key for key in keys if key not in present]:  # of a part of a larger data set
        say(f"  {len(empty)} classes of the list have no image and are left out ({empty[0]}, ...)")
        keys = [key for key in keys if key in present]
    if len(keys) < 2:
        raise ValueError(
            f"{raw} holds {'one class' if keys else 'no labelled image'}; a classifier needs two "
            "classes or more"
        )
    return tuple(keys)


def _check_spelling(files: Sequence[LabelledFile]) -> None:
    """Refuse one class that is spelt in two ways.

    Raises:
        ValueError: naming an image of each spelling; invisible characters are shown by their codes.
    """
    first: dict[str, LabelledFile] = {}
    for file in files:
        other = first.setdefault(_plain_spelling(file.key), file)
        if other.key != file.key:
            raise ValueError(
                f"image '{other.name}' has the class {other.key!a} and '{file.name}' {file.key!a}: "
                "one class spelt in two ways? write it alike, or call one of them otherwise"
            )


def _plain_spelling(key: str) -> str:
    """Return a key without what a reader overlooks: case, kinds of spaces and accents, `.0`."""
    text = unicodedata.normalize("NFC", key).lower()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # of no width
    return re.sub(r"^(\d+)\.0+$", r"\1", " ".join(text.split()))


def _with_groups(
    files: Sequence[LabelledFile], settings: DatasetSettings, raw: Path
) -> Sequence[LabelledFile]:
    """Give the images the groups that `group_by` finds; folders of groups are read before.

    Raises:
        ValueError: if they have groups already, or the setting does not fit them.
    """
    if settings.group_by in (None, "folder"):
        return files
    if any(file.group is not None for file in files):
        raise ValueError(
            f"params.yaml: data.{raw.name}.group_by is {settings.group_by}, but the files of {raw} "
            "name groups themselves; remove one of the two"
        )
    groups = name_groups({file.name: file.read for file in files}, settings)
    return [replace(file, group=groups[file.name]) for file in files]


def _check_groups(images: Sequence[RealImage]) -> None:
    """Refuse groups that only some of the images name.

    Raises:
        ValueError: naming the first image without one.
    """
    lacking = [image.name for image in images if image.group is None]
    if lacking and len(lacking) < len(images):
        raise ValueError(
            f"image '{lacking[0]}' has no group, but others have one; give every image its group "
            "(one that stands alone: its own name), or none"
        )


def _holds_out_test(is_given: bool, settings: DatasetSettings, raw: Path) -> bool:
    """Say whether a test split is to be held out of train.

    Raises:
        NoTestSplitError: if there is neither a test split nor its size.
        ValueError: if there are both.
    """
    setting = f"data.{raw.name}.test_per_class"
    if is_given and settings.test_per_class is not None:
        raise ValueError(
            f"params.yaml: {setting} is {settings.test_per_class}, but {raw} has a test split "
            "of its own; remove the setting"
        )
    if not is_given and settings.test_per_class is None:
        raise NoTestSplitError(
            f"{raw} has no test split; say in params.yaml with {setting} how many images of each "
            "class to hold out as test, or name the split"
        )
    return not is_given


def _held_out(
    train: Sequence[RealImage], keys: Sequence[str], settings: DatasetSettings, *, validates: bool
) -> set[str]:
    """Choose the test images, by groups where they are known; return their names.

    Args:
        train: the images to choose from.
        keys: the classes.
        settings: the data set's.
        validates: whether validation is to be held out of what is left.

    Raises:
        ValueError: if a class has too few images or groups.
    """
    if any(image.group is not None for image in train):
        return _held_out_groups(train, keys, settings, validates=validates)
    return _held_out_images(train, keys, settings)


def _held_out_images(
    train: Sequence[RealImage], keys: Sequence[str], settings: DatasetSettings
) -> set[str]:
    """Choose `test_per_class` images of every class by a salted hash."""
    assert settings.test_per_class is not None
    chosen: set[str] = set()
    for label, key in enumerate(keys):
        names = [image.name for image in train if image.label == label]
        if len(names) <= settings.test_per_class:
            raise ValueError(
                f"test_per_class is {settings.test_per_class}, but class '{key}' has only "
                f"{len(names)} images; lower test_per_class or add images"
            )
        chosen |= set(rank_by_hash(names, f"test-{settings.seed}")[: settings.test_per_class])
    return chosen


def _held_out_groups(
    train: Sequence[RealImage], keys: Sequence[str], settings: DatasetSettings, *, validates: bool
) -> set[str]:
    """Choose whole groups, of `test_per_class` images or more a class, that leave others so."""
    assert settings.test_per_class is not None
    needed = settings.validation_per_class + 1 if validates else 1
    salt = f"test-{settings.seed}"
    groups = _choose_groups(train, len(keys), settings.test_per_class, needed, salt)
    rest = [image for image in train if groups and image.group not in groups]
    if groups is None or (validates and validation_groups(rest, len(keys), settings) is None):
        splits = "test, validation and train" if validates else "test and train"
        of_class = [{image.group for image in train if image.label == i} for i in range(len(keys))]
        fewest = min(range(len(keys)), key=lambda label: len(of_class[label]))
        raise ValueError(
            f"test_per_class is {settings.test_per_class} and validation_per_class "
            f"{settings.validation_per_class}, but whole groups cannot fill {splits}; class "
            f"'{keys[fewest]}' has the fewest groups, {len(of_class[fewest])}: lower the two, add "
            "groups or name the splits"
        )
    return {image.name for image in train if image.group in groups}


def validation_groups(
    train: Sequence[RealImage], num_classes: int, settings: DatasetSettings
) -> set[str] | None:
    """Choose the groups that are held out as validation; None if whole groups cannot fill it."""
    salt = f"validation-{settings.seed}"
    return _choose_groups(train, num_classes, settings.validation_per_class, 1, salt)


def _choose_groups(
    images: Sequence[RealImage], num_classes: int, per_class: int, keep: int, salt: str
) -> set[str] | None:
    """Choose whole groups of images, as `hold_out_groups` does."""
    by_class: list[list[str]] = [[] for _ in range(num_classes)]
    for image in images:
        assert image.group is not None
        by_class[image.label].append(image.group)
    return hold_out_groups(by_class, per_class, keep, salt)


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
