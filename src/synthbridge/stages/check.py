"""Stage `check`: refuse a data set that lies nowhere, of which DVC would say `[Errno 2]` alone.

It comes first, and is asked again when `datasets` changes. The rest of params.yaml is checked where
any stage starts.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from synthbridge.core.log import StageLog
from synthbridge.core.settings import Sections, one_message


def check(datasets: Sequence[str], *, data: Path) -> None:
    """Refuse data sets without a folder.

    Args:
        datasets: their names.
        data: holds raw/NAME, and real/NAME once a data set is prepared.

    Raises:
        ValueError: a line each.
    """
    log = StageLog("check", f"looking for {len(datasets)} data set(s)")
    missing = [
        f"{data}/raw/{name} does not exist: put the images of '{name}' there, or correct the name "
        "in datasets (docs/own-data.md)"
        for name in datasets
        if not (data / "raw" / name).exists() and not (data / "real" / name).exists()
    ]
    if missing:
        raise ValueError(one_message(missing))
    log.done("sure of all", data / "raw")


def main(arguments: list[str] | None = None) -> None:
    """Take the folder that holds all data."""
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args(arguments)
    check(Sections().read(list[str], "datasets"), data=args.data)
