"""Stage `prepare`: a real data set becomes shards of its splits, with classes and manifests."""

import argparse
from pathlib import Path

from synthbridge.data.loading import load_dataset
from synthbridge.data.real import write_dataset
from synthbridge.data.settings import DatasetSettings
from synthbridge.progress import StageLog
from synthbridge.settings import read_section


def prepare(params: DatasetSettings, *, raw: Path, out: Path) -> None:
    """Write train, validation and test shards of the data set in `raw` to `out`."""
    log = StageLog(f"prepare: splitting '{params.source}' into train, validation and test shards")
    counts = write_dataset(
        load_dataset(params, raw),
        out,
        flip=params.flip,
        validation_per_class=params.validation_per_class,
        seed=params.seed,
    )
    log.done(", ".join(f"{count} {split} images" for split, count in counts.items()), out)


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    prepare(read_section(DatasetSettings, f"data.{args.dataset}"), raw=args.raw, out=args.out)
