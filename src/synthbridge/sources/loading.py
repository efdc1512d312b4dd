"""A data set by its source's reader, and its extra test set: a folder with the same classes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from synthbridge.core.log import say
from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import LabelledFile, RealDataset, RealImage
from synthbridge.sources.digits import CORRUPTED, corrupt_digits, load_digits
from synthbridge.sources.folders import (
    ANNOTATIONS,
    list_class_files,
    list_class_folders,
    load_folder,
)
from synthbridge.sources.hub_datasets import load_hub_dataset
from synthbridge.sources.lists import load_list
from synthbridge.sources.named.imagenet import OUT_OF_DOMAIN, class_folders
from synthbridge.sources.named.source import NAMED_SOURCES
from synthbridge.sources.raw_folder import check_raw_folder
from synthbridge.sources.tars import load_tars

# Each takes the data set's settings and the folder data/raw/NAME that holds its files.
SOURCES: dict[str, Callable[[DatasetSettings, Path], RealDataset]] = {
    "csv": load_list,
    "digits": load_digits,
    "folder": load_folder,
    "huggingface": load_hub_dataset,
    "webdataset": load_tars,
    **NAMED_SOURCES,
}


def load_dataset(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the images of a data set from the files in `raw`.

    Raises:
        ValueError: if the files are not as they should be, or the extra test set does not fit.
    """
    dataset = SOURCES[settings.source](settings, raw)
    if settings.extra_test is None:
        return dataset
    if settings.source == "digits" and settings.extra_test == CORRUPTED:
        return replace(dataset, extra_test=corrupt_digits(dataset.test))
    if settings.extra_test in OUT_OF_DOMAIN:
        extra = _load_out_of_domain(dataset, settings.extra_test, raw)
    else:
        extra = _load_extra_test(dataset, settings.extra_test, raw)
    present = {image.label for image in extra}
    if len(present) < len(dataset.class_names):
        say(
            f"  extra_test '{settings.extra_test}' has {len(present)} of "
            f"{len(dataset.class_names)} classes"
        )
    return replace(dataset, extra_test=extra)


def _load_out_of_domain(dataset: RealDataset, name: str, raw: Path) -> list[RealImage]:
    """List the images of a published test set that are of our classes; it has others beside.

    Raises:
        ValueError: if it is not there, or shares no class with `dataset`.
    """
    published = OUT_OF_DOMAIN[name]
    folder = raw / published.folder
    if not folder.is_dir():
        raise ValueError(
            f"params.yaml: data.{raw.name}.extra_test is '{name}', but {folder} does not exist: "
            f"nothing downloads it by itself; fetch {published.files}, and unpack it into {raw}"
        )
    check_raw_folder(folder)
    labels = {key: label for label, key in enumerate(dataset.class_keys or ())}
    wanted = class_folders(published, labels)
    found = [path for path in list_class_folders(folder) if path.name in wanted]
    if not found:
        raise ValueError(
            f"data.{raw.name}.extra_test is '{name}', but no class of {raw} is one of its: they "
            "are known by ImageNet's ids (n01558993), so the class folders must be too; rename "
            "them, or set it to null"
        )
    return [
        _extra_image(file, wanted[path.name])
        for path in found
        for file in list_class_files(path, raw, "test")
    ]


def _extra_image(file: LabelledFile, label: int) -> RealImage:
    """Name an image of the extra test set apart from those that a list names in its folder."""
    return RealImage(f"extra_test:{file.name}", file.read, label)


def _load_extra_test(dataset: RealDataset, name: str, raw: Path) -> list[RealImage]:
    """List `raw`/`name`/CLASS/IMAGE, where CLASS is a key or a name of a class of `dataset`.

    A class may be missing, as in ImageNet-R; this is said.

    Args:
        dataset: whose classes they must be.
        name: of the folder.
        raw: the data set's raw folder: DVC watches it, and nothing beside it.

    Raises:
        ValueError: if there is no such folder, or one in it is no class.
    """
    folder = raw / name
    if not folder.is_dir():
        raise ValueError(
            f"params.yaml: data.{raw.name}.extra_test is '{name}', but {folder} does not exist; "
            "put its class folders there, or set it to null"
        )
    check_raw_folder(folder, ANNOTATIONS)
    keys = dataset.class_keys or dataset.class_names
    labels = {name: label for label, name in enumerate(dataset.class_names)}
    labels |= {key: label for label, key in enumerate(keys)}
    images: list[RealImage] = []
    for class_folder in list_class_folders(folder):
        if class_folder.name not in labels:
            raise ValueError(
                f"{class_folder} is no class of {raw}; its classes are {', '.join(keys[:5])}"
                f"{', ...' if len(keys) > 5 else ''}"
            )
        label = labels[class_folder.name]
        images += [
            _extra_image(file, label) for file in list_class_files(class_folder, raw, "test")
        ]
    return images
