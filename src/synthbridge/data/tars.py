"""The one reader of tars: the samples of a WebDataset tar, whole or refused by a sentence.

A sample is the files that share a key: their path up to the first dot of the file's name, as
WebDataset cuts it. Images are listed by their place and not read, so that a tar of many gigabytes
costs one walk over its headers; labels and captions are small and are read at once. Tars that were
joined end to end (`cat a.tar b.tar`) are read to the last.
"""

import os
import tarfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

IMAGE_EXTENSIONS = (
    *("jpg", "jpeg", "png", "webp"),  # WebDataset's own
    *("avif", "bmp", "gif", "heic", "heif", "tif", "tiff"),
)
END_MARKER = 1024  # bytes: two blocks of zeros end a tar


@dataclass(frozen=True)
class TarSample:
    """The files of one key."""

    images: list[tuple[int, int]] = field(default_factory=list)  # (offset, size) in bytes
    texts: dict[str, bytes] = field(default_factory=dict)  # by extension


def read_tar(path: Path, texts: Collection[str], way_out: str) -> dict[str, TarSample]:
    """List the samples of a tar by their keys, in the order in which it holds them.

    Args:
        path: an uncompressed tar.
        texts: extensions of the files to read; others that are no image are passed over.
        way_out: how the error of a tar that is not whole ends.

    Raises:
        ValueError: if it is no tar, or is cut off.
    """
    samples: dict[str, TarSample] = {}
    try:
        with path.open("rb") as file:
            start: int | None = 0
            while start is not None:  # once for each tar that was joined
                file.seek(start)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        _add_member(samples, tar, member, texts)
                    start = _next_start(file, tar.offset)
        if not _has_end_marker(path):  # it was cut between two files
            raise tarfile.ReadError("unexpected end of data")
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not a whole tar ({error}); {way_out}") from None
    return samples


def _add_member(
    samples: dict[str, TarSample], tar: tarfile.TarFile, member: tarfile.TarInfo, texts: Collection
) -> None:
    key, extension = _split_name(member.name)
    if not member.isfile() or not key:  # a folder, a link, a hidden file
        return
    sample = samples.setdefault(key, TarSample())
    if extension in IMAGE_EXTENSIONS:
        sample.images.append((member.offset_data, member.size))
    elif extension in texts and (file := tar.extractfile(member)):
        sample.texts[extension] = file.read()


def _next_start(file: BinaryIO, end: int) -> int | None:
    """Find where another tar begins behind the end of one; None if only zeros follow.

    Raises:
        tarfile.ReadError: if no zeros end the tar: tarfile stops at a damaged header in silence.
    """
    file.seek(end)
    while block := file.read(tarfile.BLOCKSIZE):
        if any(block):
            start = file.tell() - len(block)
            if start == end:
                raise tarfile.ReadError("damaged header")
            return start
    return None


def _split_name(name: str) -> tuple[str, str]:
    """Split a member's name into key and extension at the first dot behind its folder."""
    folder, _, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return f"{folder}/{stem}" if folder and stem else stem, extension.lower()


def _has_end_marker(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_MARKER))
        end = file.read()
    return len(end) == END_MARKER and not any(end)


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Read `size` bytes of a file from `offset` on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
