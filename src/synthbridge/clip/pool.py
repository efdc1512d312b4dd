"""Pools: folders of captioned images, as WebDataset shards or as files of their own.

shards   *.tar; a sample is KEY.jpg (jpeg, png, webp) with KEY.txt, or with "caption" in KEY.json
files    images with metadata.csv or metadata.jsonl (file_name, and caption or text) in the folder,
         or each with its caption beside it: NAME.jpg, NAME.txt

Listing reads names, captions and places; an image is read when it is asked for.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthbridge.data.encoding import decode_image
from synthbridge.data.found_files import decode_text, list_folder, read_text
from synthbridge.data.tars import IMAGE_EXTENSIONS, read_range, read_tar

METADATA = ("metadata.csv", "metadata.jsonl")
WAY_OUT = (
    "put KEY.txt beside KEY.jpg in its shards or folders, or metadata.csv (file_name, caption) "
    "into the folder"
)


class PoolImage(NamedTuple):
    """What a pool says of one image, and where its bytes lie."""

    key: str  # SHARD/KEY, or the file's path from the pool's folder
    caption: str  # empty: it has none
    file: str  # the shard or the image, from the pool's folder
    offset: int  # of the image's bytes in it
    size: int  # bytes


def list_images(folder: Path) -> Iterator[PoolImage]:
    """Yield the images of the pool in `folder`, each once, in the order of their names.

    Raises:
        ValueError: if there is none, none has a caption, or a file is not whole.
    """
    if not folder.is_dir():
        raise ValueError(f"the pool {folder} is no folder; name one that holds captioned images")
    shards = sorted(folder.rglob("*.tar"))
    images = _in_shards(folder, shards) if shards else _in_files(folder)
    num_images, num_captions = 0, 0
    for image in images:
        yield image
        num_images += 1
        num_captions += bool(image.caption)
    if not num_images:
        extensions = ", ".join(IMAGE_EXTENSIONS)
        raise ValueError(f"the pool {folder} holds no image ({extensions}) and no shard of any")
    if not num_captions:
        raise ValueError(
            f"the pool {folder} holds {num_images} images and no caption of any; {WAY_OUT}"
        )


def _in_shards(folder: Path, shards: Iterable[Path]) -> Iterator[PoolImage]:
    for shard in shards:
        name = shard.relative_to(folder).as_posix()
        samples = read_tar(shard, ("txt", "json"), "copy it again, or take it out of the pool")
        for key, sample in sorted(samples.items()):
            captions = [
                _caption_of(kind, content, f"{key}.{kind} in {shard}")
                for kind, content in sample.texts.items()
            ]
            caption = next((text for text in reversed(captions) if text), "")
            for place in sample.images[-1:]:
                yield PoolImage(f"{name}/{key}", caption, name, *place)


def _caption_of(extension: str, content: bytes, where: str) -> str:
    text = decode_text(content, where)
    if extension == "json":
        try:
            record = json.loads(text)
        except ValueError:
            return ""
        text = _text(record, "caption") if isinstance(record, dict) else ""
    return " ".join(text.split())


def _text(record: dict[str, Any], *names: str) -> str:
    """Return the first of the values called `names` that is a text and not empty."""
    return next((record[n] for n in names if isinstance(record.get(n), str) and record[n]), "")


def _in_files(folder: Path) -> Iterator[PoolImage]:
    metadata = [folder / name for name in METADATA if (folder / name).is_file()]
    captions = _read_metadata(metadata[0]) if metadata else None
    images = {
        path.relative_to(folder).as_posix(): path
        for path in _walk(folder)
        if path.suffix.lower().removeprefix(".") in IMAGE_EXTENSIONS
    }
    missing = [name for name in captions or () if name not in images]
    if missing:
        raise ValueError(
            f"{metadata[0]} names {missing[0]}, which is no image of the pool; correct the name "
            f"or remove the line ({len(missing)} such lines)"
        )
    for name, path in images.items():
        beside = path.with_suffix(".txt")
        if captions is not None:
            caption = captions.get(name, "")
        else:
            caption = ""
            if beside.is_file():
                caption = _caption_of("txt", beside.read_bytes(), str(beside))
        yield PoolImage(name, caption, name, 0, path.stat().st_size)


def _walk(folder: Path) -> Iterator[Path]:
    """Pass on the files below `folder` in the order of their names, without left-overs."""
    found = []
    for path in list_folder(folder):
        found += _walk(path) if path.is_dir() else [path]
    yield from sorted(found)


def _read_metadata(path: Path) -> dict[str, str]:
    """Return captions by file name; several of one image become one."""
    lines = list(io.StringIO(read_text(path), newline=""))
    captions: dict[str, list[str]] = {}
    try:
        is_csv = path.suffix == ".csv"
        for row in csv.DictReader(lines, strict=True) if is_csv else map(json.loads, lines):
            name = Path(row["file_name"]).as_posix()
            caption = " ".join(_text(row, "caption", "text").split())
            captions.setdefault(name, []).append(caption)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} cannot be read ({error!r}); it needs file_name, and caption or text, for "
            "each image"
        ) from None
    return {name: " ".join(filter(None, texts)) for name, texts in captions.items()}


def read_bytes(folder: Path, image: PoolImage) -> bytes:
    """Read the encoded image from the pool in `folder`."""
    return read_range(folder / image.file, image.offset, image.size)


def read_pixels(folder: Path, image: PoolImage) -> np.ndarray:
    """Decode an image, upright: (H, W, 3) uint8.

    Raises:
        ValueError: if the bytes are no whole image; names it.
    """
    return decode_image(read_bytes(folder, image), f"image '{image.key}' of {folder}")
