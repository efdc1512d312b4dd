"""Stage `report`: every run, probe and curve becomes tables, plots, verdicts and one page."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from synthbridge.core.files import read_json, write_json, write_text
from synthbridge.core.log import StageLog, say
from synthbridge.core.settings import Sections
from synthbridge.data.shards import Sample, index_shard, read_square
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.examined import read_examined
from synthbridge.evidence.figures import write_png
from synthbridge.evidence.frequency import with_frequencies
from synthbridge.evidence.marks import TABLES, is_selected_on_test, mark_table
from synthbridge.evidence.page import Evidence, draw_figures, render_page
from synthbridge.evidence.readings import read_probes, read_retrieved, read_style_losses
from synthbridge.evidence.results import TestedModel, read_runs
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.tables import (
    accuracy_table,
    convergence_table,
    differences_table,
    probe_table,
    results_table,
    smooth_losses,
    summary,
    with_series,
    write_csv,
)
from synthbridge.evidence.transferability import transferability_table
from synthbridge.evidence.verdict import underfit_sentences, verdict_sentence

NO_SETS: Mapping[str, Path] = MappingProxyType({})
TILE = 64  # pixels: the side of a picture in the grid
# What names a line of `dvc plots`; see plot_shots.json and plot_curve.json beside the page.
SERIES = {
    "accuracy": ["dataset", "method", "arm"],
    "convergence": ["dataset", "method", "arm", "shots"],
    "style_loss": ["dataset", "set", "subset"],
}


def report(
    params: ReportSettings,
    *,
    dataset: str,
    final: Sequence[Path],
    probe: Path | None = None,
    real: Path | None = None,
    styles: Mapping[str, Path] = NO_SETS,
    blocks: Mapping[str, Path] = NO_SETS,
    examined: Mapping[str, Path] = NO_SETS,
    out: Path,
) -> None:
    """Write tables, plots and the page of one data set to `out`.

    Args:
        params: what is compared, and how sure the page must be.
        dataset: its name; runs and probes of another are refused.
        final: folders of finetune and tune_clip.
        probe: the file of probe.
        real: the prepared data set, for the pictures.
        styles: by set, a folder of invert, with a loss curve <subset>.csv for each token.
        blocks: by set, a block of generated or retrieved images, for the pictures.
        examined: by set, a folder `findings` of examine.
        out: the folder to fill.

    Raises:
        ValueError: if an input is missing, broken or of another data set; names the file.
    """
    runs = read_runs(final, dataset)
    facts = read_facts(real)
    if facts.train_counts:
        runs = [with_frequencies(run, facts.train_counts) for run in runs]
    log = StageLog("report", f"comparing {len(runs)} runs on {dataset}")
    probes = read_probes([] if probe is None else [probe], dataset)
    tables = {
        "results": results_table(runs),
        "accuracy": accuracy_table(runs),
        "convergence": convergence_table(runs, params.primary),
        "probe": probe_table(probes),
        "transferability": transferability_table(probes, runs, params.measure),
        "style_loss": smooth_losses(read_style_losses(styles, dataset)),
    }
    methods = {run.set: run.method for run in runs if run.set}
    lacks = read_retrieved(blocks)
    retrieved = {methods[name]: lacks[name] for name in methods if name in lacks}
    comparisons = compare_runs(runs, params, retrieved)
    pictures, class_names, provenance = read_pictures(
        real, blocks, _grid_labels(runs, params.grid_classes), params.grid_images
    )
    evidence = Evidence(
        dataset=dataset,
        runs=runs,
        comparisons=comparisons,
        accuracy=tables["accuracy"],
        convergence=tables["convergence"],
        losses=tables["style_loss"],
        probes=tables["probe"],
        transferability=tables["transferability"],
        examined=read_examined(examined),
        pictures=pictures,
        class_names=class_names,
        provenance=provenance,
        retrieved=retrieved,
        num_held_out=facts.num_held_out,
        group_note=facts.group_note,
    )
    tables["differences"] = differences_table(comparisons)
    marked = is_selected_on_test(runs)
    for name, table in tables.items():
        table = with_series(table, SERIES[name]) if name in SERIES else table
        table = mark_table(table) if marked and name in TABLES else table
        write_csv(out / f"{name}.csv", table)
    numbers = summary(tables["accuracy"], comparisons, tables["probe"], params, marked=marked)
    write_json(out / "summary.json", numbers)
    _write_page(evidence, params, out)
    log.done(f"a report of {len(runs)} runs", out / "report.html")


@dataclass(frozen=True)
class RealFacts:
    """What the report says of the prepared data set; None where it is not known."""

    train_counts: list[int] | None = None  # a class; only of a long-tailed data set
    num_held_out: int | None = None  # labelled images that select the learning rate
    group_note: str | None = None  # what a reader must know of the groups of images


def read_facts(real: Path | None) -> RealFacts:
    """Read what `prepare` wrote beside the shards."""
    manifest, about = (
        read_json(real / name) if real and (real / name).is_file() else {}
        for name in ("manifest.json", "dataset.json")
    )
    held_out = manifest.get("splits", {}).get("validation")
    return RealFacts(
        train_counts=manifest.get("train_counts"),
        num_held_out=None if held_out is None else len(held_out),
        group_note=about.get("group_note"),
    )


def _write_page(evidence: Evidence, params: ReportSettings, out: Path) -> None:
    """Write the plots and the page, and say the verdict."""
    figures = draw_figures(evidence, params)
    for name, figure in figures.items():
        write_png(figure, out / "plots" / f"{name}.png")
    if evidence.methods():
        rows, retrieved = evidence.comparisons, evidence.retrieved
        say(f"  {verdict_sentence(evidence.dataset, rows, params, retrieved)}")
    for sentence in underfit_sentences(evidence.comparisons):
        say(f"  {sentence}")
    write_text(out / "report.html", render_page(evidence, figures, params))


def _grid_labels(runs: list[TestedModel], num_rows: int) -> list[int]:
    """Choose classes for the grid, spread evenly."""
    labels = np.unique(runs[0].labels)
    rows = np.linspace(0, len(labels) - 1, min(num_rows, len(labels))).round().astype(int)
    return [int(label) for label in labels[rows]]


def read_pictures(
    real: Path | None, blocks: Mapping[str, Path], labels: list[int], num: int
) -> tuple[dict[str, np.ndarray], list[str], dict[str, dict[str, str]]]:
    """Read the first pictures of each class from the real data and from a block of every set.

    Returns:
        Pictures (classes, num, TILE, TILE, 3) by set, real first; the names of the classes; and
        for each set what the records of its pictures agree on.
    """
    shards = {}
    if real is not None:
        shards["real"] = _tars(real, "train-*.tar")
    for name, block in blocks.items():
        shards[name] = _tars(block, "**/*.tar")
    names = {label: str(label) for label in labels}
    pictures, provenance = {}, {}
    for name, paths in shards.items():
        samples = _first_samples(paths, labels, num)
        pictures[name] = np.stack([_tiles(samples[label], num) for label in labels])
        for label in labels:
            for sample in samples[label]:
                names[label] = sample.record.get("class_name", names[label])
        if name != "real":
            provenance[name] = _common_facts([s.record for kept in samples.values() for s in kept])
    return pictures, [names[label] for label in labels], provenance


def _tars(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of shards; run 'dvc repro' to make it")
    return sorted(folder.glob(pattern))


def _first_samples(paths: list[Path], labels: list[int], num: int) -> dict[int, list[Sample]]:
    """Return the first `num` samples of each label, opening no more shards than it takes."""
    samples: dict[int, list[Sample]] = {label: [] for label in labels}
    for path in paths:
        for sample in index_shard(path):
            if len(samples.get(sample.label, [None] * num)) < num:
                samples[sample.label].append(sample)
        if all(len(kept) == num for kept in samples.values()):
            break
    return samples


def _tiles(samples: list[Sample], num: int) -> np.ndarray:
    """Decode up to `num` pictures as (num, TILE, TILE, 3) uint8; missing ones are white."""
    tiles = np.full((num, TILE, TILE, 3), 255, np.uint8)
    for index, sample in enumerate(samples):
        tiles[index] = read_square(sample, TILE)
    return tiles


def _common_facts(records: list[dict[str, Any]]) -> dict[str, str]:
    """Return what all records agree on, and one prompt or caption for an example."""
    if not records:
        return {}
    facts = {
        name: str(value)
        for name, value in sorted(records[0].items())
        if all(record.get(name) == value for record in records)
    }
    for name in ("prompt", "caption"):
        if name in records[0]:
            facts[name] = f"for example: {records[0][name]}"
    return facts


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the folders that dvc.yaml names; each holds a folder a set."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    for name in ("--real", "--probe", "--results", "--styles", "--sets", "--examined", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    sets = sections.read(list[str], "sets")
    generated_sets = sections.read(list[str], "generated_sets")
    tuned = sections.read(list[str], "clip_tuning.sets")
    report(
        sections.read(ReportSettings, "report"),
        dataset=args.dataset,
        final=[
            *(args.results / name for name in ("real", "clip")),
            *(args.results / family / name for family in ("mixed", "bridged") for name in sets),
            *(args.results / "clip_set" / name for name in tuned),
        ],
        probe=args.probe,
        real=args.real,
        styles={name: args.styles / name for name in generated_sets},
        blocks={name: args.sets / name / "b0" for name in sets},
        examined={name: args.examined / name / "findings" for name in sets},
        out=args.out,
    )
