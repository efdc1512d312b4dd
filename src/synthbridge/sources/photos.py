"""Photographs without labels, as a person names them: files, folders, lists, tars of samples."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synthbridge.data.found_files import list_folder
from synthbridge.data.tars import read_range, read_tar
from synthbridge.sources.rows import SUFFIXES, read_rows

# What lies beside images in a folder or a list and is none.
BESIDE = {
    *SUFFIXES,
    *(".cls", ".html", ".json", ".jsonl", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml"),
}


@dataclass(frozen=True)
class Photo:
    """An image file that may turn out to be none."""

    name: str
    read: Callable[[], bytes]


def list_photos(paths: Sequence[Path]) -> Iterator[Photo]:
    """List the images that `paths` name: files, folders with all below them, tars and lists.

    A list is a .csv or .tsv with the column path, relative to it. In a folder, left-overs of
    systems and files of text are passed over. A file that is named itself is listed whatever it is.

    Raises:
        ValueError: if a path is neither file nor folder, or a list has no such column.
    """
    for path in paths:
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"{path} does not exist; name image files, folders, tars or lists")
    return itertools.chain.from_iterable(map(_list, paths))


def _list(path: Path) -> Iterator[Photo]:
    if path.is_dir():
        yield from _list_below(path, set())
    elif path.suffix.lower() in SUFFIXES:
        yield from _list_rows(path)
    else:
        yield from _list_file(path)


def _list_below(folder: Path, seen: set[Path]) -> Iterator[Photo]:
    """List a folder's images, then its folders'; a link that leads back is followed once."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    entries = list_folder(folder)
    for path in entries:
        is_image = path.suffix.lower() not in BESIDE
        if is_image and (path.is_file() or (path.is_symlink() and not path.exists())):
            yield from _list_file(path)
    for path in entries:
        if path.is_dir():
            yield from _list_below(path, seen)


def _list_file(path: Path) -> Iterator[Photo]:
    if path.suffix.lower() != ".tar":
        yield Photo(str(path), path.read_bytes)
        return
    try:
        samples = read_tar(path, (), "copy it again")
    except ValueError as error:  # said when it is read, as of any broken file
        yield Photo(str(path), partial(_raise, error))
        return
    for key, sample in samples.items():
        for place in sample.images:
            yield Photo(f"{path}/{key}", partial(read_range, path, *place))


def _raise(error: ValueError) -> bytes:
    raise error


def _list_rows(path: Path) -> Iterator[Photo]:
    for number, row in read_rows(path, ("path",)):
        name = (row["path"] or "").strip()
        if not name:
            raise ValueError(f"{path}, row {number} lacks its path; fill it in")
        image = path.parent / name
        if not image.is_file():
            image = path.parent / name.replace("\\", "/")  # as Windows writes paths
        yield Photo(str(image), partial(_read_file, image))


def _read_file(path: Path) -> bytes:
    """Read what a list names, which may be no file.

    Raises:
        ValueError: for a pipe or a device, which would make us wait for ever.
        OSError: if nothing is there, or a folder.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path} is a pipe, a socket or a device and no file; take it out of the list"
        )
    return path.read_bytes()
