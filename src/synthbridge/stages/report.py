"""Stage `report`: every run, probe and curve becomes tables, plots, verdicts and one page."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from synthbridge.core.files import read_json, write_json, write_text
from synthbridge.core.log import StageLog, say
from synthbridge.core.settings import Sections
from synthbridge.evidence.classes import class_changes, classes_table
from synthbridge.evidence.comparisons import compare_runs, pairs_of, runs_of
from synthbridge.evidence.examined import class_gap_table, read_examined
from synthbridge.evidence.figures import write_png
from synthbridge.evidence.frequency import with_frequencies
from synthbridge.evidence.marks import (
    FIGURES,
    TABLES,
    WARNING,
    is_selected_on_test,
    mark_table,
)
from synthbridge.evidence.page import Evidence, make_plots, render_page
from synthbridge.evidence.pictures import read_pictures
from synthbridge.evidence.plots import grid_figure, write_plot
from synthbridge.evidence.readings import (
    read_licences,
    read_probes,
    read_retrieved,
    read_style_losses,
)
from synthbridge.evidence.results import REAL, TestedModel, read_runs
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
# What names a line of `dvc plots`; see the templates plot_*.json beside the page.
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
    delivered: Path | None = None,
    styles: Mapping[str, Path] = NO_SETS,
    blocks: Mapping[str, Path] = NO_SETS,
    examined: Mapping[str, Path] = NO_SETS,
    made_of: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    note: str | None = None,
    out: Path,
) -> None:
    """Write tables, plots and the page of one data set to `out`.

    Args:
        params: what is compared, and how sure the page must be.
        dataset: its name; runs and probes of another are refused.
        final: folders of finetune and tune_clip.
        probe: the file of probe.
        real: the prepared data set, for the pictures.
        delivered: the folder of deliver, for its choice.
        styles: by set, a folder of invert, with a loss curve <subset>.csv for each token.
        blocks: by set, a block of generated or retrieved images, for the pictures.
        examined: by set, a folder `findings` of examine.
        made_of: by set, its group in params.yaml.
        note: stands over everything.
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
    pictures = read_pictures(
        runs[0],
        real=real,
        blocks=blocks,
        num_classes=params.grid_classes,
        num_each=params.grid_images,
    )
    pairs = _primary_pairs(runs, params)
    changes = class_changes(pairs, params.confidence)
    found = read_examined(examined)
    evidence = Evidence(
        dataset=dataset,
        runs=runs,
        comparisons=comparisons,
        pairs=pairs,
        changes=changes,
        accuracy=tables["accuracy"],
        convergence=tables["convergence"],
        losses=tables["style_loss"],
        probes=tables["probe"],
        transferability=tables["transferability"],
        examined=found,
        pictures=pictures,
        retrieved=retrieved,
        made_of=made_of,
        delivered=None if delivered is None else read_choice(delivered),
        generator_note=note,
        num_held_out=facts.num_held_out,
        group_note=facts.group_note,
        licences=read_licences(blocks),
    )
    tables["differences"] = differences_table(comparisons)
    tables["classes"] = classes_table(pairs, changes, pictures.class_names)
    tables["class_gap"] = class_gap_table(found)
    marked = is_selected_on_test(runs)
    for name, table in tables.items():
        table = with_series(table, SERIES[name]) if name in SERIES else table
        table = mark_table(table) if marked and name in TABLES else table
        write_csv(out / f"{name}.csv", table)
    numbers = summary(tables["accuracy"], comparisons, params, marked=marked)
    write_json(out / "summary.json", numbers)
    _write_page(evidence, params, out)
    log.done(f"a report of {len(runs)} runs", out / "report.html")


def read_choice(delivered: Path) -> dict[str, Any]:
    """Read what `deliver` chose.

    Raises:
        ValueError: if it is not there.
    """
    path = delivered / "choice.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist; run 'dvc repro' to make it")
    return read_json(path)


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


def _primary_pairs(
    runs: Sequence[TestedModel], params: ReportSettings
) -> list[tuple[TestedModel, TestedModel]]:
    """Pair the runs of the verdict's arm with those of its reference."""
    primary = params.primary
    if primary is None:
        return []
    arm = runs_of(runs, primary.arm, primary.method, primary.shots)
    return pairs_of(arm, runs_of(runs, primary.reference, REAL, primary.shots))


def _write_page(evidence: Evidence, params: ReportSettings, out: Path) -> None:
    """Write the plots and the page, and say the verdict."""
    plots = make_plots(evidence, params)
    is_marked = is_selected_on_test(evidence.runs)
    for name, plot in plots.items():
        heading = WARNING.capitalize() if is_marked and name in FIGURES else None
        write_plot(plot, out / "plots" / f"{name}.png", heading)
    pictures = evidence.pictures
    if pictures.tiles:
        write_png(grid_figure(pictures.tiles, pictures.row_names), out / "plots" / "grid.png")
    if evidence.methods():
        rows, images = evidence.comparisons, evidence.known(params).primary_images()
        say(f"  {verdict_sentence(evidence.dataset, rows, params, images=images)}")
    for sentence in underfit_sentences(evidence.comparisons):
        say(f"  {sentence}")
    write_text(out / "report.html", render_page(evidence, plots, params))


def generator_note(generator: Mapping[str, Any] | None, source: str) -> str | None:
    """Say what a reader must know of the miniature's generator; nothing of another one.

    Args:
        generator: `upstream.generator` in params.yaml; the miniature's says how to train a UNet.
        source: of the real images.
    """
    if generator is None or "unet" not in generator:
        return None
    note = (
        "The generator of this run is the miniature: it draws the digits 0 to 9 and nothing else."
    )
    if source == "digits":
        return f"{note} What it does here says little of a large generator on photographs."
    return (
        f"{note} So this page says nothing of what synthetic images can do for these data: name a "
        "generator in upstream.generator (docs/models.md) and run again."
    )


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the folders that dvc.yaml names; each holds a folder a set."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    for name in ("real", "probe", "results", "styles", "sets", "examined", "delivered", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    sets = sections.read(list[str], "sets")
    generated_sets = sections.read(list[str], "generated_sets")
    tuned = sections.read(list[str], "clip_tuning.sets")
    source = sections.values["data"][args.dataset]["source"]
    generator = sections.values["upstream"]["generator"]
    groups = sections.values["synthetic"] | sections.values["retrieved"]
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
        delivered=args.delivered,
        made_of={name: groups[name] for name in sets},
        note=generator_note(generator, source) if generated_sets else None,
        out=args.out,
    )
