"""Source `csv`: a list of images with the columns path, label and perhaps split and group.

It is called images.csv or images.tsv; commas, semicolons or tabs part its cells.
"""

import csv
import io
from pathlib import Path, PureWindowsPath

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import SPLIT_NAMES, LabelledFile, RealDataset, build_dataset
from synthbridge.sources.raw_folder import check_raw_folder, read_text

LISTS = ("images.csv", "images.tsv")
SEPARATORS = ",;\t"


def load_list(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the images that `raw`/images.csv (or .tsv) names; paths are relative to `raw`.

    Raises:
        ValueError: naming the row, if a file is missing or named twice, or a split is unknown.
    """
    check_raw_folder(raw)
    found = [raw / name for name in LISTS if (raw / name).is_file()]
    if not found:
        raise ValueError(
            f"{raw / LISTS[0]} does not exist; write it with the columns path, label, split"
        )
    if len(found) > 1:
        raise ValueError(f"{raw} holds {' and '.join(LISTS)}; keep one of them")
    (path,) = found
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
    lines = list(io.StringIO(read_text(path), newline=""))
    skipped = 1 if lines and lines[0].lower().startswith("sep=") else 0  # Excel's way to say it
    header = lines[skipped] if len(lines) > skipped else ""
    separator = max(SEPARATORS, key=header.count)
    reader = csv.DictReader(lines[skipped:], delimiter=separator, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        if "path" not in columns or "label" not in columns:
            raise ValueError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; its first line must "
                "name path and label (and split and group, if there are any), separated by commas"
            )
        rows += ((reader.line_num + skipped, row) for row in reader)
    except csv.Error as error:
        last = rows[-1][0] if rows else skipped + 1
        raise ValueError(
            f"{path}: the row after line {last} cannot be read ({error}); is a quote not closed?"
        ) from None
    for number, row in rows:
        if any(cell.strip() for cell in row.pop(None, ())):  # type: ignore[call-overload]
            raise ValueError(
                f"{path}, row {number} has more cells than the first line; put quotes around a "
                "cell that holds the separator"
            )
    return rows


def _labelled_file(row: dict[str, str], raw: Path, where: str) -> LabelledFile:
    name, key = (row["path"] or "").strip(), (row["label"] or "").strip()
    if not name or not key:
        raise ValueError(f"{where} lacks its {'label' if name else 'path'}; fill it in")
    if not (raw / name).is_file():
        name = name.replace("\\", "/")  # as Windows writes paths
    path = raw / name
    if Path(name).is_absolute() or PureWindowsPath(name).is_absolute() or ".." in Path(name).parts:
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
