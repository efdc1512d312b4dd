"""Stage `prepare`: a real data set becomes shards of its splits, with classes and manifests."""

import argparse
from pathlib import Path

from synthbridge.core.files import write_json
from synthbridge.core.log import StageLog, say
from synthbridge.core.settings import Sections
from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import check_classes
from synthbridge.sources.inspection import (
    check_space,
    describe_copies,
    describe_damage,
    find_copies,
    inspect_dataset,
    left_out,
    list_copies,
    summarise_changes,
    without,
)
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.near_duplicates import describe_pairs, find_across, write_pairs
from synthbridge.sources.writing import write_dataset


def prepare(params: DatasetSettings, *, raw: Path, out: Path) -> None:
    """Write train, validation and test shards of the data set in `raw` to `out`."""
    log = StageLog("prepare", f"splitting '{params.source}' into train, validation and test shards")
    dataset = load_dataset(params, raw)
    inspections = inspect_dataset(dataset, params.max_side)
    copies = find_copies(dataset, {name: seen.sha256 for name, seen in inspections.items()})
    names_left_out = left_out(copies, leave_out_copies=dataset.leave_out_copies)
    dataset = without(dataset, names_left_out)
    check_classes(dataset, params.validation_per_class)
    check_space(inspections.values(), out)
    for line in (
        summarise_changes(inspections.values()),
        describe_damage(inspections.values()),
    ):
        if line:
            say(f"  {line}")
    splits = write_dataset(dataset, out, params)
    if copies:
        write_json(out / "duplicates.json", list_copies(copies, names_left_out))
        for line in describe_copies(copies, names_left_out):
            say(f"  {line}")
    if pairs := find_across(splits, inspections):
        write_pairs(pairs, dataset, out)
        holds_out = params.test_per_class is not None  # else the split is somebody's own
        for line in describe_pairs(pairs, can_group=holds_out and params.group_by is None):
            say(f"  {line}")
    made = ", ".join(f"{len(i)} {split.replace('_', ' ')} images" for split, i in splits.items())
    log.done(f"{len(dataset.class_names)} classes, {made}", out)


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    settings = Sections().read(DatasetSettings, f"data.{args.dataset}")
    prepare(settings, raw=args.raw, out=args.out)
