"""Source `huggingface`: a data set of the Hugging Face Hub, or a local folder in one of its forms.

hub.yaml in the raw folder says which (see HubDataset). Rows are streamed once: nothing is built in
the library's cache, and of a large set only the columns in use are fetched. Their bytes wait
in a nameless temporary file beside hub.yaml until the shards are written.
"""

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from synthbridge.core.files import require_space
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, is_commit, read_yaml
from synthbridge.data.settings import DatasetSettings, HubDataset
from synthbridge.sources.dataset import LabelledFile, RealDataset, build_dataset
from synthbridge.sources.labels import read_label
from synthbridge.sources.raw_folder import check_raw_folder

HUB_FILE = "hub.yaml"
GROUP_COLUMN = "group"  # taken where a data set has it, unless hub.yaml names another


def load_hub_dataset(settings: DatasetSettings, raw: Path) -> RealDataset:
    """Stream the splits that `raw`/hub.yaml names.

    Raises:
        ValueError: if hub.yaml is wrong or not pinned, or the data set cannot be read.
    """
    check_raw_folder(raw)
    path = raw / HUB_FILE
    if not path.is_file():
        raise ValueError(f"{path} does not exist; write it with the data set's id and revision")
    hub = read_hub_file(path)
    if Path(hub.id).is_absolute() or ".." in Path(hub.id).parts:
        raise ValueError(
            f"{path}: id '{hub.id}' lies outside {raw}; DVC watches that folder alone: put it there"
        )
    folder = raw / hub.id
    if not folder.is_dir():
        _check_revision(hub, path)
    named = {"train": hub.train, "validation": hub.validation, "test": hub.test}
    spool = _Spool(raw)
    files: list[LabelledFile] = []
    classes: list[str] | None = None
    for split, name in named.items():
        if name is not None:
            rows = _open_split(hub, name, folder, path)
            classes = _class_names(rows, hub, path)
            say(f"  reading {hub.id}, split '{name}'")
            files += _spool_rows(rows, hub, split, classes, spool, path)
    return build_dataset(files, settings, raw, keys=classes)


def read_hub_file(path: Path) -> HubDataset:
    """Read a hub.yaml.

    Raises:
        ValueError: if it is wrong.
    """
    return check_settings(HubDataset, read_yaml(path), "", file=str(path))


def _check_revision(hub: HubDataset, path: Path) -> None:
    """Refuse an id without a commit."""
    if not is_commit(hub.revision):
        fault = f"'{hub.revision}', which may move" if hub.revision else "missing"
        raise ValueError(
            f"{path}: revision is {fault}; run 'python src pin', which asks the hub once and "
            "writes the commit of today"
        )


def _open_split(hub: HubDataset, name: str, folder: Path, path: Path) -> Any:
    """Open one split as a stream of rows with the columns in use, images not decoded."""
    import datasets

    is_local = folder.is_dir()
    try:
        rows: Any = datasets.load_dataset(
            str(folder) if is_local else hub.id,
            name=hub.config,
            revision=None if is_local else hub.revision,
            split=name,
            streaming=True,
        )
        rows = rows if rows.features else rows._resolve_features()
    except Exception as error:  # as above
        raise ValueError(f"{path}: '{hub.id}' cannot be read: {_first_line(error)}") from None
    for key, column in (("image", hub.image), ("label", hub.label), ("group", hub.group)):
        if column is not None and column not in rows.features:
            raise ValueError(
                f"{path}: {key} is '{column}', but the data set has the columns "
                f"{', '.join(rows.features)}; name one of them"
            )
    if known := (rows.info.splits or {}).get(name):  # twice: here until the shards are written
        require_space(2 * known.num_bytes, path.parent, f"'{hub.id}', split '{name}',")
    group = _group_column(rows, hub)
    return rows.select_columns([hub.image, hub.label, *([group] if group else [])]).cast_column(
        hub.image, datasets.Image(decode=False)
    )


def _group_column(rows: Any, hub: HubDataset) -> str | None:
    """Return the column of groups; None if there is none."""
    return hub.group or (GROUP_COLUMN if GROUP_COLUMN in rows.features else None)


def _class_names(rows: Any, hub: HubDataset, path: Path) -> list[str] | None:
    """Return the names that the label column has in its order; None if it holds bare values."""
    names = getattr(rows.features[hub.label], "names", None)
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: the data set has two classes '{twice}'; it cannot be used")
    return names


def _spool_rows(
    rows: Any, hub: HubDataset, split: str, classes: list[str] | None, spool: "_Spool", path: Path
) -> Iterator[LabelledFile]:
    group_column = _group_column(rows, hub)
    for index, row in enumerate(_rows(rows, hub, path)):
        name = f"{split}/{index:07d}"
        key = _class_key(row[hub.label], classes, f"{path}: image {name}")
        image = row[hub.image] or {}
        if not image.get("bytes") and not image.get("path"):
            raise ValueError(f"{path}: row {name} has no image; choose another split or column")
        content = image.get("bytes") or Path(image["path"]).read_bytes()
        group = row[group_column] if group_column else None
        group = None if group is None else str(group).strip() or None
        yield LabelledFile(name, spool.keep(content), key, split, group)


def _class_key(label: Any, classes: list[str] | None, where: str) -> str:
    """Return the key of a row's class, whose label is an index where the column names classes."""
    if label is None or label != label or (classes is not None and label < 0):  # None, NaN
        raise ValueError(f"{where} has no label; choose another split or column")
    return read_label(label, where) if classes is None else classes[label]


def _rows(rows: Any, hub: HubDataset, path: Path) -> Iterator[dict[str, Any]]:
    """Pass the rows on; say in a sentence what breaks the stream."""
    try:
        yield from rows
    except OSError as error:
        raise ValueError(
            f"{path}: reading '{hub.id}' broke off: {_first_line(error)}; run it again"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


class _Spool:
    """Bytes on disk in a file without a name, which the system removes when we end."""

    def __init__(self, folder: Path):
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as we do
        self.end = 0

    def keep(self, content: bytes) -> partial[bytes]:
        """Append `content` and return what reads it again."""
        self.file.write(content)
        self.end += len(content)
        return partial(self._read, self.end - len(content), len(content))

    def _read(self, offset: int, size: int) -> bytes:
        self.file.flush()
        return os.pread(self.file.fileno(), size, offset)
