"""What any raw folder of one's own data is checked for before it is read."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from synthbridge.core.log import say
from synthbridge.data.found_files import is_left_over, list_folder

PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".download", ".aria2", ".filepart")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
DVC_CACHE = r"/[0-9a-f]{2}/[0-9a-f]{30}$"  # DVC may check a data set out as links to its cache


def check_raw_folder(raw: Path, leaves_out: Collection[str] = ()) -> None:
    """Refuse a folder that is missing, empty or only half there, and say what is left out.

    Args:
        raw: the folder.
        leaves_out: suffixes of files that its form does not read, in small letters.

    Raises:
        ValueError: with the way out; also for what is no file and for links that lead out of it.
    """
    if not raw.is_dir():
        raise ValueError(f"{raw} does not exist; put the data set there (see docs/own-data.md)")
    if not list_folder(raw):
        raise ValueError(f"{raw} is empty; put the data set there (see docs/own-data.md)")
    left_out: Counter[str] = Counter()
    for path in _walk(raw, raw.resolve()):
        if is_left_over(path):
            left_out[left_over_name(path.name)] += 1
        elif path.suffix.lower() in leaves_out:
            left_out[f"*{path.suffix.lower()}"] += 1
        elif path.suffix.lower() in PARTIAL:
            raise ValueError(
                f"{path} is half copied or downloaded; finish that, or remove the file"
            )
    say_left_out(left_out)


def left_over_name(name: str) -> str:
    """Return what the line on what is left out calls a file: macOS makes one for each image."""
    return "._*" if name.startswith("._") else name.strip()


def say_left_out(left_out: Mapping[str, int]) -> None:
    """Say in one line what is left out, if anything is; `left_out` counts it by its name."""
    if left_out:
        told = ", ".join(f"{count} {name}" for name, count in sorted(left_out.items()))
        say(f"  left out, since they are no images of the data set: {told}")


def refuse_archives(raw: Path) -> None:
    """Refuse an archive: it may be unpacked only in part.

    Raises:
        ValueError: with the way out.
    """
    for path in list_folder(raw):
        if path.suffix.lower() in ARCHIVES:
            raise ValueError(
                f"{path} is an archive, and what lies beside it may be only a part of it; unpack "
                f"it whole and move it out of {raw}"
            )


def _walk(folder: Path, top: Path) -> Iterator[Path]:
    """Pass on all that lies below `folder`, not what is inside of what is left out.

    Args:
        folder: where to begin.
        top: the raw folder, resolved: no link may lead out of it.
    """
    for path in sorted(folder.iterdir()):
        if not is_left_over(path):
            _check_entry(path, top)
        yield path
        if path.is_dir() and not is_left_over(path):
            yield from _walk(path, top)


def _check_entry(path: Path, top: Path) -> None:
    """Refuse what cannot be read as a file or folder of the data set.

    Raises:
        ValueError: for a name, a link or a pipe.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{path.parent} holds a file whose name is no UTF-8 ({path.name!a}); rename it"
        ) from None
    if path.is_symlink():
        _check_link(path, top)
    if not path.is_dir() and not path.is_file():  # it may make its reader wait for ever
        raise ValueError(f"{path} is a pipe, a socket or a device and no file; remove it")


def _check_link(path: Path, top: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # nothing is there, or links that lead to one another
        raise ValueError(
            f"{path} is a broken link to {path.readlink()}; put the file there or remove the link"
        ) from None
    if path.parent.resolve().is_relative_to(target):
        raise ValueError(f"{path} is a link to a folder that it lies in; remove it")
    if not target.is_relative_to(top) and not re.search(DVC_CACHE, target.as_posix()):
        raise ValueError(
            f"{path} is a link to {target}, outside the data set; DVC watches that folder alone: "
            "put the file itself there"
        )
