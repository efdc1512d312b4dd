"""Lists of images as people save them: rows of cells parted by commas, semicolons or tabs."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from synthbridge.data.found_files import read_text

SEPARATORS = ",;\t"
SUFFIXES = (".csv", ".tsv")


def read_rows(
    path: Path, needed: Sequence[str], optional: str = ""
) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a list with their line numbers, as an editor shows them.

    Args:
        path: in UTF-8 or UTF-16, with the columns' names in the first line, in any case. Excel's
            `sep=;` may stand above it.
        needed: the columns that must be there.
        optional: the others that are read, as the error shall name them.

    Raises:
        ValueError: naming the list or the row, if a column is missing or a row cannot be read.
    """
    lines = list(io.StringIO(read_text(path), newline=""))
    skipped = 1 if lines and lines[0].lower().startswith("sep=") else 0  # Excel's way to say it
    header = lines[skipped] if len(lines) > skipped else ""
    separator = max(SEPARATORS, key=header.count)
    reader = csv.DictReader(lines[skipped:], delimiter=separator, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        if not set(needed) <= set(columns):
            beside = f" (and {optional})" if optional else ""
            raise ValueError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; its first line must "
                f"name {' and '.join(needed)}{beside}, separated by commas"
            )
        if twice := [name for name in needed if columns.count(name) > 1]:
            raise ValueError(f"{path} has the column {twice[0]} twice; rename one of them")
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
