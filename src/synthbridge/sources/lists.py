"""Source `csv`: a file images.csv with the columns path, label and perhaps split and group."""

import csv
from pathlib import Path

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import SPLIT_NAMES, LabelledFile, RealDataset, build_dataset
from synthbridge.sources.raw_folder import check_raw_folder

LIST = "images.csv"


def load_list(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the images that `raw`/images.csv names; paths are relative to `raw`.

    Raises:
        ValueError: naming the row, if a file is missing or named twice, or a split is unknown.
    """
    check_raw_folder(raw)
    path = raw / LIST
    if not path.is_file():
        raise ValueError(f"{path} does not exist; write it with the columns path, label, split")
    files: dict[str, LabelledFile] = {}
    rows: dict[str, int] = {}
    for number, row in _read_rows(path):
        where = f"{path}, row {number}"
        file = _labelled_file(row, raw, where)
        if file.name in files:
            raise ValueError(
                f"{where} names '{file.name}', which row {rows[file.name]} names already; "
                "remove one of them"
            )
        files[file.name], rows[file.name] = file, number
    return build_dataset(list(files.values()), settings, raw)


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows with their line numbers, as an editor shows them."""
    with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: Excel writes a mark first
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if "path" not in columns or "label" not in columns:
            raise ValueError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; its first line must "
                "name path and label (and split and group, if there are any), separated by commas"
            )
        return [(reader.line_num, row) for row in reader]


def _labelled_file(row: dict[str, str], raw: Path, where: str) -> LabelledFile:
    name, key = (row["path"] or "").strip(), (row["label"] or "").strip()
    if not name or not key:
        raise ValueError(f"{where} lacks its {'label' if name else 'path'}; fill it in")
    path = raw / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(
            f"{where}: '{name}' lies outside {raw}; DVC watches that folder alone: put it there"
        )
    if not path.is_file():
        raise ValueError(f"{where}: {path} does not exist; correct the row or add the file")
    split = (row.get("split") or "").strip() if "split" in row else "train"
    if split.lower() not in SPLIT_NAMES:
        raise ValueError(f"{where}: split is '{split}'; choose from {', '.join(SPLIT_NAMES)}")
    return LabelledFile(
        Path(name).as_posix(),
        path.read_bytes,
        key,
        SPLIT_NAMES[split.lower()],
        (row.get("group") or "").strip() or None,
    )
