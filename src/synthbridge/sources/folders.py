"""Source `folder`: one sub-folder a class, with or without folders of splits above them.

With `group_by: folder` the images of a class lie in folders of groups. A group is known by its
folder's name: folders called alike, of two classes or splits, are one group.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthbridge.data.found_files import list_folder
from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import SPLIT_NAMES, LabelledFile, RealDataset, build_dataset
from synthbridge.sources.named.imagenet import OUT_OF_DOMAIN
from synthbridge.sources.names import NAMES_FILE
from synthbridge.sources.raw_folder import check_raw_folder, refuse_archives

# May lie beside images, and beside the class folders.
ANNOTATIONS = (".xml", ".txt", ".json", ".md")
LISTS = (".csv", ".tsv")
PROSE = (*ANNOTATIONS, ".pdf", ".html", ".yml")  # may lie beside the class folders alone


def load_folder(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the images of all classes in `raw`.

    They lie in `raw`/CLASS, or in `raw`/SPLIT/CLASS where folders are called train, val, test; by
    groups one level deeper.

    Raises:
        ValueError: if a folder is empty, too deep or not a class, or the splits do not fit.
    """
    check_raw_folder(raw, ANNOTATIONS)
    refuse_archives(raw)
    folders = [path for path in list_class_folders(raw) if path.name not in _extra_tests(settings)]
    splits = {folder: SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    if settings.group_by == "folder":
        _refuse_mixture(folders, raw)
    if are_splits(folders):
        _refuse_twice(splits)
        files = [
            file
            for folder, split in splits.items()
            for class_folder in list_class_folders(folder)
            for file in _list_class(class_folder, raw, str(split), settings)
        ]
    else:
        files = [file for folder in folders for file in _list_class(folder, raw, "train", settings)]
    return build_dataset(files, settings, raw)


def are_splits(folders: Sequence[Path]) -> bool:
    """Say whether every folder is called as a split is, and one as train."""
    splits = {SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    return "train" in splits and None not in splits


def mixed_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders that are called as splits are, where the folders are not all splits."""
    if are_splits(folders):
        return []
    return [folder.name for folder in folders if folder.name.lower() in SPLIT_NAMES]


def list_groups(folder: Path) -> list[Path]:
    """List what lies in a class folder whose folders are groups, without annotations."""
    return [
        path
        for path in list_folder(folder)
        if path.is_dir() or path.suffix.lower() not in ANNOTATIONS
    ]


def _refuse_mixture(folders: Sequence[Path], raw: Path) -> None:
    """Refuse splits among classes: classes inside of splits would be taken for groups.

    Raises:
        ValueError: naming the first folder that is called as a split is.
    """
    if names := mixed_names(folders):
        raise ValueError(
            f"{raw / names[0]} is called as a split is, but with data.{raw.name}.group_by: folder "
            "either all folders are splits, train among them, or none is; rename those that do "
            f"not fit (SPLIT: {', '.join(SPLIT_NAMES)})"
        )


def _extra_tests(settings: DatasetSettings) -> set[str | None]:
    """Name the folders that hold no class: the extra test set, all published ones if it is one."""
    if settings.extra_test in OUT_OF_DOMAIN:
        return {published.folder for published in OUT_OF_DOMAIN.values()}
    return {settings.extra_test}


def list_class_folders(folder: Path) -> list[Path]:
    """List the sub-folders.

    Raises:
        ValueError: if there is none, or an image lies beside them.
    """
    entries = [path for path in list_folder(folder) if path.name != NAMES_FILE]
    folders = [path for path in entries if path.is_dir()]
    for path in entries:
        if not path.is_dir() and path.suffix.lower() not in PROSE and path.suffix:
            raise ValueError(
                f"{path} lies in no class folder; move it into one or remove it"
                + ("; source: csv reads lists" if path.suffix.lower() in LISTS else "")
            )
    if not folders:
        raise ValueError(f"{folder} holds no class folder; give each class a folder of images")
    return folders


def _refuse_twice(splits: dict[Path, str | None]) -> None:
    first: dict[str | None, Path] = {}
    for folder, split in splits.items():
        other = first.setdefault(split, folder)
        if other != folder:
            raise ValueError(f"{other} and {folder} are both {split}; put them into one folder")


def _list_class(
    folder: Path, raw: Path, split: str, settings: DatasetSettings
) -> list[LabelledFile]:
    """List the images of a class, by the folders of its groups where it has them.

    Raises:
        ValueError: if there is none, or one lies on the wrong level.
    """
    if settings.group_by != "folder":
        return list_class_files(folder, raw, split)
    groups = list_groups(folder)
    for path in groups:
        if not path.is_dir():
            raise ValueError(
                f"{path} lies in no group; with data.{raw.name}.group_by: folder every image lies "
                f"in CLASS/GROUP: move it into a folder of its own, or remove the setting"
            )
    if not groups:
        raise ValueError(f"class folder {folder} is empty; add its images or remove the folder")
    return [
        replace(file, key=folder.name, group=group.name)
        for group in groups
        for file in list_class_files(group, raw, split)
    ]


def list_class_files(folder: Path, raw: Path, split: str) -> list[LabelledFile]:
    """List the images of a class.

    Raises:
        ValueError: if there is none, or a folder among them.
    """
    paths = [path for path in list_folder(folder) if path.suffix.lower() not in ANNOTATIONS]
    if not paths:
        raise ValueError(f"class folder {folder} is empty; add its images or remove the folder")
    for path in paths:
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder inside a class folder; images lie in {raw}/CLASS or "
                f"{raw}/SPLIT/CLASS (SPLIT: {', '.join(SPLIT_NAMES)}): move them there, or say "
                f"data.{raw.name}.group_by: folder if folders in classes are groups"
            )
    return [
        LabelledFile(path.relative_to(raw).as_posix(), path.read_bytes, folder.name, split)
        for path in paths
    ]
