"""Stage `report`: every run, probe and curve becomes tables, plots, verdicts and one page."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

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
from synthbridge.evidence.results import Run, read_runs
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
from synthbridge.files import read_json, write_json, write_text
from synthbridge.progress import StageLog, say
from synthbridge.settings import read_section
from synthbridge.stages.pictures import read_pictures

# What names a line of `dvc plots`; see plot_shots.json and plot_curve.json beside the page.
SERIES = {
    "accuracy": ["dataset", "source", "arm"],
    "convergence": ["dataset", "source", "arm", "shots"],
    "style_loss": ["dataset", "set", "subset"],
}


def report(
    params: ReportSettings,
    *,
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
    log = StageLog(f"report: comparing {len(runs)} runs on {', '.join(datasets)}")
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
        sources = {run.set: run.source for run in own_runs if run.set}
        of_dataset = [path for path in synthetic if dataset_of(path, datasets) == dataset]
        blocks = _by_set(of_dataset, sources)
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
            retrieved={sources[name]: lacks[name] for name in sources if name in lacks},
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
            write_png(figure, out / "plots" / evidence.dataset / f"{name}.png")
        for source in evidence.sources():
            sentence = verdict_sentence(
                evidence.dataset, source, evidence.comparisons, params, evidence.retrieved
            )
            say(f"  {sentence}")
    write_text(out / "report.html", render_page(parts, params))


def _grid_labels(runs: list[Run], num_rows: int) -> list[int]:
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


def main(arguments: list[str] | None = None) -> None:
    """Take the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--final", type=Path, nargs="+", required=True, help="folders of finetune")
    parser.add_argument("--probe", type=Path, nargs="+", default=[], help="of probe")
    parser.add_argument("--styles", type=Path, nargs="*", default=[], help="folders of invert")
    parser.add_argument("--real", type=Path, nargs="+", default=[], help="prepared data sets")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="folders of shards")
    parser.add_argument("--examined", type=Path, nargs="*", default=[], help="of examine")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    report(read_section(ReportSettings, "report"), **vars(args))
