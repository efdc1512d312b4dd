"""Source `csv`: a list of images with the columns path, label and perhaps split and group.

It is called images.csv or images.tsv; commas, semicolons or tabs part its cells.
"""

import re
from pathlib import Path, PureWindowsPath

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import SPLIT_NAMES, LabelledFile, RealDataset, build_dataset
from synthbridge.sources.labels import read_label
from synthbridge.sources.raw_folder import check_raw_folder
from synthbridge.sources.rows import read_rows

LISTS = ("images.csv", "images.tsv")


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
    for number, row in read_rows(path, ("path", "label"), "split and group, if there are any"):
        where = f"{path}, row {number}"
        file = _labelled_file(row, raw, where)
        if file.name in files:
            raise ValueError(
                f"{where} names '{file.name}', which row {rows[file.name]} names already; "
                "remove one of them"
            )
        files[file.name], rows[file.name] = file, number
    return build_dataset(list(files.values()), settings, raw)


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
    if re.match(r"\w{2,}://", row["path"].strip()):
        raise ValueError(
            f"{where}: '{row['path'].strip()}' is an address; nothing is downloaded: put the image "
            f"into {raw} and name it there"
        )
    if path.is_dir():
        raise ValueError(f"{where}: {path} is a folder; name each image in a row of its own")
    if not path.is_file():
        raise ValueError(f"{where}: {path} does not exist; correct the row or add the file")
    split = (row.get("split") or "").strip() if "split" in row else "train"
    if split.lower() not in SPLIT_NAMES:
        raise ValueError(f"{where}: split is '{split}'; choose from {', '.join(SPLIT_NAMES)}")
    return LabelledFile(
        Path(name).as_posix(),
        path.read_bytes,
        read_label(key, where),
        SPLIT_NAMES[split.lower()],
        (row.get("group") or "").strip() or None,
    )
