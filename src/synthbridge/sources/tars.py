"""Source `webdataset`: tars of samples KEY.jpg (or .jpeg, .png, .webp) with KEY.cls, .json or .txt.

The class of a sample is an index or a name: the text of .cls or .txt, or in .json the first of
`label`, `class_name`, `class`, `cls`. An index counts the lines of classes.txt beside the tars;
without that file it is the class's key, which names.yaml can name. In .json, `group` names the
images that belong together.
"""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from synthbridge.data.found_files import LEFT_OVERS, decode_text, list_folder, read_text
from synthbridge.data.settings import DatasetSettings
from synthbridge.data.tars import IMAGE_EXTENSIONS, TarSample, read_range, read_tar
from synthbridge.sources.dataset import SPLIT_NAMES, LabelledFile, RealDataset, build_dataset
from synthbridge.sources.labels import read_label
from synthbridge.sources.raw_folder import check_raw_folder, left_over_name, say_left_out

LABELS = ("cls", "json", "txt")  # the first one that a sample has counts
JSON_KEYS = ("label", "class_name", "class", "cls")
CLASSES_FILE = "classes.txt"
PROSE = ("readme", "license", "licence")  # .txt and .json of these names are no labels


def load_tars(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the samples of all tars in `raw`; a name such as birds-train-000.tar says its split.

    Raises:
        ValueError: naming the tar and the sample, if one is not whole or has no class.
    """
    check_raw_folder(raw)
    tars = [path for path in list_folder(raw) if path.suffix.lower() == ".tar"]
    if not tars:
        packed = [path.name for path in list_folder(raw) if ".tar." in path.name]
        raise ValueError(
            f"{raw} holds no .tar"
            + (f"; unpack {packed[0]} to .tar: samples are read at random" if packed else "")
        )
    for path in tars:
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not a tar; pack what it holds, or rename it")
    classes = _read_classes(raw / CLASSES_FILE)
    left_out: Counter[str] = Counter()
    files = [
        LabelledFile(
            f"{path.name}/{key}",
            partial(read_range, path, *sample.images[0]),
            _class_key(sample, f"{path}: sample '{key}'", classes, raw),
            split,
            _group(sample, f"{path}: sample '{key}'"),
        )
        for path, split in _splits(tars).items()
        for key, sample in _index(path, left_out).items()
    ]
    say_left_out(left_out)
    return build_dataset(files, settings, raw, keys=classes)


def _splits(tars: list[Path]) -> dict[Path, str]:
    """Return the split that a word of each tar's name says; train if none says one."""
    said = {path: _said_splits(path) for path in tars}
    if not any(said.values()):
        return dict.fromkeys(tars, "train")
    for path, splits in said.items():
        if len(splits) != 1:
            fault = f"names {' and '.join(sorted(splits))}" if splits else "names no split"
            raise ValueError(
                f"{path} {fault}, but others name one; let its name hold one of "
                f"{', '.join(SPLIT_NAMES)} between hyphens"
            )
    return {path: splits.pop() for path, splits in said.items()}


def _said_splits(path: Path) -> set[str]:
    """Return the splits that the words of a file's name say, whatever their case."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}


def _index(path: Path, left_out: Counter[str]) -> dict[str, TarSample]:
    """Find the samples of a tar, each with one image; `left_out` counts what else lies in it."""
    found = read_tar(path, LABELS, "copy it again")
    left_out.update(_hidden_files(path))
    samples: dict[str, TarSample] = {}
    for key, sample in found.items():
        if name := _beside(key, sample):
            left_out[name] += 1
        else:
            samples[key] = sample
    if not samples:
        raise ValueError(f"{path} holds no sample; copy it again")
    for key, sample in samples.items():
        if len(sample.images) != 1:
            raise ValueError(
                f"{path}: sample '{key}' has {len(sample.images)} images "
                f"({', '.join(f'.{name}' for name in IMAGE_EXTENSIONS)}); it needs one; "
                "a key ends at the first dot of the file's name"
            )
    return samples


def _hidden_files(path: Path) -> Iterator[str]:
    """Name the hidden files of a tar, which belong to no sample; macOS makes one for each image."""
    with tarfile.open(path, "r:", ignore_zeros=True) as tar:  # on to the last of joined tars
        for member in tar:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name.startswith("."):
                yield left_over_name(name)


def _beside(key: str, sample: TarSample) -> str | None:
    """Name files that are no sample: prose, and what systems leave behind; None if they are one."""
    *folders, name = key.split("/")
    for folder in folders:
        if folder.casefold() in LEFT_OVERS:
            return folder
    known = (*PROSE, *(left.split(".")[0] for left in LEFT_OVERS))
    return name if not sample.images and name.casefold() in known else None


def _class_key(sample: TarSample, where: str, classes: list[str] | None, raw: Path) -> str:
    """Return the key of a sample's class."""
    for extension in LABELS:
        if extension in sample.texts:
            label = read_label(_read_text(sample.texts[extension], extension, where), where)
            break
    else:
        raise ValueError(f"{where} has no .cls, .json or .txt; add its class")
    if classes is None:
        return label
    if label.isdecimal() and int(label) < len(classes):
        return classes[int(label)]
    if label not in classes:
        raise ValueError(
            f"{where} has class '{label}', but {raw / CLASSES_FILE} names {len(classes)} classes "
            "(0 is the first line); add it there or correct the sample"
        )
    return label


def _group(sample: TarSample, where: str) -> str | None:
    """Return the `group` of a sample's .json; None if it has none."""
    record = _read_json(sample.texts["json"], where) if "json" in sample.texts else None
    group = record.get("group") if isinstance(record, dict) else None
    if group is None:
        return None
    if isinstance(group, bool) or not isinstance(group, str | int) or not str(group).strip():
        raise ValueError(f"{where}: .json has the group {group!r}; write a name or a number")
    return str(group).strip()


def _read_json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{where}: .json cannot be read ({error}); correct it") from None


def _read_text(content: bytes, extension: str, where: str) -> str:
    """Return the text of a label file; of .json, that of the first key of JSON_KEYS it has."""
    rule = "write an index or a name"
    if extension == "json":
        rule += f" under one of {', '.join(JSON_KEYS)}"
        record = _read_json(content, where)
        found = (
            [record[key] for key in JSON_KEYS if key in record] if isinstance(record, dict) else []
        )
        if not found:
            raise ValueError(f"{where}: .json has no label; {rule}")
        if isinstance(found[0], bool) or not isinstance(found[0], str | int):
            raise ValueError(f"{where}: .json has the label {found[0]!r}; {rule}")
        text = str(found[0])
    else:
        text = decode_text(content, f"{where}: .{extension}")
    if not text.strip():
        raise ValueError(f"{where}: .{extension} is empty; {rule}")
    return text.strip()


def _read_classes(path: Path) -> list[str] | None:
    """Return the lines of classes.txt, or None without it."""
    if not path.is_file():
        return None
    classes = [line.strip() for line in read_text(path).splitlines()]
    while classes and not classes[-1]:
        classes.pop()
    for number, name in enumerate(classes, start=1):
        if not name or classes.index(name) != number - 1:
            fault = f"repeats '{name}'" if name else "is empty"
            raise ValueError(f"{path}: line {number} {fault}; name each class once")
    return classes
