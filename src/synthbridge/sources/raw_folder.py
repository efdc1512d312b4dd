"""What any raw folder of one's own data is checked for before it is read."""

from collections.abc import Iterator
from pathlib import Path

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what systems leave behind; hidden files as well
PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".download", ".aria2", ".filepart")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def list_folder(folder: Path) -> list[Path]:
    """List what lies in `folder`, without hidden and junk entries."""
    return sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in JUNK
    )


def check_raw_folder(raw: Path) -> None:
    """Refuse a folder that is missing, empty or only half there.

    Raises:
        ValueError: with the way out.
    """
    if not raw.is_dir():
        raise ValueError(f"{raw} does not exist; put the data set there (see docs/own-data.md)")
    if not list_folder(raw):
        raise ValueError(f"{raw} is empty; put the data set there (see docs/own-data.md)")
    for path in _walk(raw):
        if path.suffix.lower() in PARTIAL:
            raise ValueError(
                f"{path} is half copied or downloaded; finish that, or remove the file"
            )


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


def _walk(folder: Path) -> Iterator[Path]:
    for path in list_folder(folder):
        yield path
        if path.is_dir():
            yield from _walk(path)
