"""Stage `report`: every run, probe and curve becomes tables, plots, verdicts and one page."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from synthbridge.core.files import read_json, write_json, write_text
from synthbridge.core.log import StageLog, say
from synthbridge.core.settings import Sections
from synthbridge.data.shards import Sample, index_shard, read_square
from synthbridge.evidence.comparisons import compare_runs, verdict_sentence
from synthbridge.evidence.examined import read_examined
from synthbridge.evidence.figures import write_png
from synthbridge.evidence.forecasts import forecast_table
from synthbridge.evidence.frequency import with_frequencies
from synthbridge.evidence.marks import TABLES, mark_table, marked_datasets
from synthbridge.evidence.page import Evidence, draw_figures, render_page
from synthbridge.evidence.readings import (
    dataset_of,
    read_probes,
    read_retrieved,
    read_style_losses,
)
from synthbridge.evidence.results import TestedModel, read_runs
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.tables import (
    accuracy_table,
    convergence_table,
    differences_table,
    probe_table,
    results_table,
    rows_with,
    smooth_losses,
    summary,
    with_series,
    write_csv,
)

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
    probe: Sequence[Path] = (),
    styles: Sequence[Path] = (),
    real: Sequence[Path] = (),
    synthetic: Sequence[Path] = (),
    examined: Sequence[Path] = (),
    out: Path,
) -> None:
    """Write tables, plots and the page to `out`.

    Args:
        params: what is compared, and how sure the page must be.
        dataset: its name.
        final: folders of finetune.
        probe: files or folders of probe.
        styles: folders of invert, with a loss curve <subset>.csv for each token.
        real: prepared data sets, for the pictures.
        synthetic: blocks of synthetic and retrieved sets, for the pictures.
        examined: folders `findings` of examine.
        out: the folder to fill.

    Raises:
        ValueError: if an input is missing or broken; names the file.
    """
    runs = read_runs(final)
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    counts = _train_counts(real, datasets)
    runs = [with_frequencies(run, counts[run.dataset]) if run.dataset in counts else run
            for run in runs]  # fmt: skip
    log = StageLog("report", f"comparing {len(runs)} runs on {', '.join(datasets)}")
    probes, findings = read_probes(probe), read_examined(examined, datasets)
    tables = {
        "results": results_table(runs),
        "accuracy": accuracy_table(runs),
        "convergence": convergence_table(runs, params.primary_arm),
        "probe": probe_table(probes),
        "forecasts": forecast_table(probes, runs, params.measure),
        "style_loss": smooth_losses(read_style_losses(styles, datasets)),
    }
    comparisons = compare_runs(runs, params)
    parts = []
    for dataset in datasets:
        own_runs = [run for run in runs if run.dataset == dataset]
        methods = {run.set: run.method for run in own_runs if run.set}
        of_dataset = [path for path in synthetic if dataset_of(path, datasets) == dataset]
        blocks = _by_set(of_dataset, methods)
        lacks = read_retrieved(blocks)
        pictures, class_names, provenance = read_pictures(
            [path for path in real if dataset_of(path, datasets) == dataset],
            blocks,
            _grid_labels(own_runs, params.grid_classes),
            params.grid_images,
        )
        evidence = Evidence(
            dataset=dataset,
            runs=own_runs,
            comparisons=[row for row in comparisons if row.dataset == dataset],
            accuracy=rows_with(tables["accuracy"], "dataset", [dataset]),
            convergence=rows_with(tables["convergence"], "dataset", [dataset]),
            losses=rows_with(tables["style_loss"], "dataset", [dataset]),
            probes=rows_with(tables["probe"], "dataset", [dataset]),
            forecasts=rows_with(tables["forecasts"], "dataset", [dataset]),
            examined=[found for found in findings if found.dataset == dataset],
            pictures=pictures,
            class_names=class_names,
            provenance=provenance,
            retrieved={methods[name]: lacks[name] for name in methods if name in lacks},
        )
        parts.append((evidence, draw_figures(evidence, params)))
    tables["differences"] = differences_table(comparisons)
    marked = marked_datasets(runs)
    for name, table in tables.items():
        table = with_series(table, SERIES[name]) if name in SERIES else table
        write_csv(out / f"{name}.csv", mark_table(table, marked) if name in TABLES else table)
    numbers = summary(tables["accuracy"], comparisons, tables["probe"], params, marked)
    write_json(out / "summary.json", numbers)
    _write_page(parts, params, out)
    log.done(f"a report of {len(runs)} runs", out / "report.html")


def _train_counts(real: Sequence[Path], datasets: list[str]) -> dict[str, list[int]]:
    """Read how many training images each class has, of the data sets that are long-tailed."""
    counts = {}
    for folder in real:
        path = folder / "manifest.json"
        manifest = read_json(path) if path.is_file() else {}
        if "train_counts" in manifest:
            counts[dataset_of(folder, datasets)] = manifest["train_counts"]
    return counts


def _write_page(
    parts: list[tuple[Evidence, dict[str, Figure]]], params: ReportSettings, out: Path
) -> None:
    """Write the plots and the page, and say the verdicts."""
    for evidence, figures in parts:
        for name, figure in figures.items():
            write_png(figure, out / "plots" / f"{name}.png")
        for method in evidence.methods():
            sentence = verdict_sentence(
                evidence.dataset, method, evidence.comparisons, params, evidence.retrieved
            )
            say(f"  {sentence}")
    write_text(out / "report.html", render_page(parts, params))


def _grid_labels(runs: list[TestedModel], num_rows: int) -> list[int]:
    """Choose classes for the grid, spread evenly."""
    labels = np.unique(runs[0].labels)
    rows = np.linspace(0, len(labels) - 1, min(num_rows, len(labels))).round().astype(int)
    return [int(label) for label in labels[rows]]


def _by_set(blocks: list[Path], sets: Collection[str]) -> dict[str, list[Path]]:
    """Group the folders of blocks: those of one set lie below a folder that bears its name."""
    groups: dict[str, list[Path]] = {}
    for block in blocks:
        name = next((part for part in reversed(block.parts) if part in sets), block.name)
        groups.setdefault(name, []).append(block)
    return groups


def read_pictures(
    real: list[Path], sets: dict[str, list[Path]], labels: list[int], num: int
) -> tuple[dict[str, np.ndarray], list[str], dict[str, dict[str, str]]]:
    """Read the first pictures of each class from the real data and from the blocks of every set.

    Returns:
        Pictures (classes, num, TILE, TILE, 3) by set, real first; the names of the classes; and
        for each set what the records of its pictures agree on.
    """
    shards = {}
    if real:
        shards["real"] = [tar for folder in real for tar in _tars(folder, "train-*.tar")]
    for name, blocks in sets.items():
        shards[name] = [tar for block in blocks for tar in _tars(block, "**/*.tar")]
    names = {label: str(label) for label in labels}
    pictures, provenance = {}, {}
    for name, paths in shards.items():
        samples = _first_samples(paths, labels, num)
        pictures[name] = np.stack([_tiles(samples[label], num) for label in labels])
        for label in labels:
            for sample in samples[label]:
                names[label] = sample.record.get("class_name", names[label])
        if name != "real":
            provenance[name] = _shared_facts([s.record for kept in samples.values() for s in kept])
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


def _shared_facts(records: list[dict[str, Any]]) -> dict[str, str]:
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
    tuned = sections.read(list[str], "clip_tuning.sets")
    report(
        sections.read(ReportSettings, "report"),
        dataset=args.dataset,
        final=[
            *(args.results / name for name in ("real", "clip")),
            *(args.results / family / name for family in ("mixed", "bridged") for name in sets),
            *(args.results / "clip_set" / name for name in tuned),
        ],
        probe=[args.probe],
        styles=[args.styles / name for name in sections.read(list[str], "generated_sets")],
        real=[args.real],
        synthetic=[args.sets / name / "b0" for name in sets],
        examined=[args.examined / name / "findings" for name in sets],
        out=args.out,
    )
