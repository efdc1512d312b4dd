"""A study's rows as a table, a figure and a page, the paper's numbers beside them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from synthbridge.core.files import write_text
from synthbridge.studies.collect import Row, missing_lines
from synthbridge.studies.definition import ScaleName, Study, X
from synthbridge.studies.experiments import Experiment

COLUMNS = (
    "study", "scale", "row", "control", "dataset", "shots", "x", "measure", "mean", "spread",
    "num_seeds", "over", "over_spread", "gradient_steps", "learning_rate_selected_on",
    "experiment", "commit", "values",
)  # fmt: skip


def write_points(path: Path, name: str, scale: ScaleName, rows: Sequence[Row]) -> None:
    """Write every row with its seeds, and the experiment that made it, as CSV."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        over = list(row.over.values())
        table.writerow([
            name, scale, row.row, int(row.is_control), row.dataset, row.shots, row.x, row.measure,
            _number(row.mean), _number(row.spread), len(row.values),
            _number(mean(over) if over else None),
            _number(stdev(over) if len(over) > 1 else None),
            row.gradient_steps, "test" if row.is_marked else "", row.experiment, row.commit,
            " ".join(f"{seed}:{value:.6g}" for seed, value in sorted(row.values.items())),
        ])  # fmt: skip
    write_text(path, file.getvalue())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def cell(row: Row) -> str:
    """Return mean and spread, and the paired difference where there is one, in few digits."""
    digits = 2 if row.measure.startswith("leep") else 1
    text = f"{row.mean:.{digits}f}"
    if row.spread is not None:
        text += f" ± {row.spread:.{digits}f}"
    if row.over:
        over = list(row.over.values())
        text += f" ({mean(over):+.{digits}f}"
        text += f" ± {stdev(over):.{digits}f})" if len(over) > 1 else ")"
    return text


def shots_words(shots: str) -> str:
    """Return how a panel or a column names its shots."""
    return {"full": "all real images", "1": "1 shot"}.get(shots, f"{shots} shots")


def places(study: Study, rows: Sequence[Row]) -> list[X]:
    """List the places on the axis: numbers in order, words as they come."""
    found = list(dict.fromkeys(row.x for row in rows if row.x is not None))
    if study.axis == "shots":
        return sorted(found, key=_shots_key)
    numbers = sorted(x for x in found if not isinstance(x, str))
    return [*numbers, *(x for x in found if isinstance(x, str))]


def panels_of(study: Study, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Divide rows into panels: a data set each, and a number of shots unless it is the axis.

    What has no shots stands in every panel of its data set.
    """
    panels: dict[str, list[Row]] = {}
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        counts = {row.shots for row in own if row.shots is not None}
        if study.axis == "shots" or not counts:
            panels[dataset] = own
            continue
        for shots in sorted(counts, key=_shots_key):
            inside = [row for row in own if row.shots in (shots, None)]
            panels[f"{dataset}, {shots_words(shots)}"] = inside
    return panels


def _shots_key(shots: X) -> float:
    return float("inf") if shots == "full" else float(shots)


def tables(study: Study, rows: Sequence[Row]) -> str:
    """Return the tables of a study as Markdown; without an axis, the paper's columns beside."""
    panels = panels_of(study, rows)
    if study.axis is None:
        ours = {
            title: {row.row: cell(row) for row in panel} for title, panel in panels.items()
        }  # fmt: skip
        paper = {
            f"{column} (paper)": {row: f"{value:g}" for row, value in values.items()}
            for column, values in study.paper.columns.items()
        }
        return _table("", study, ours | paper)
    texts = []
    for title, panel in panels.items():
        columns = {
            str(x): {row.row: cell(row) for row in panel if row.x in (x, None)}
            for x in places(study, panel)
        }
        texts.append(f"{title}; {study.axis}:\n\n{_table(study.axis, study, columns)}")
    return "\n".join(texts)


def _table(corner: str, study: Study, columns: Mapping[str, Mapping[str, str]]) -> str:
    lines = [f"| {corner} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    names = [line.row for line in study.lines]
    names += [row for column in columns.values() for row in column if row not in names]
    controls = {line.row for line in study.lines if line.is_control}
    for name in dict.fromkeys(names):
        cells = [column.get(name, "") for column in columns.values()]
        shown = f"*{name}* (control)" if name in controls else name
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def paper_tables(study: Study) -> str:
    """Return what the paper reports, as words and tables of its own."""
    texts = [study.paper.words]
    if study.paper.columns and (study.axis is not None or study.draws == "sizes"):
        columns = {
            name: {row: f"{value:g}" for row, value in values.items()}
            for name, values in study.paper.columns.items()
        }
        texts.append(_table("paper", study.model_copy(update={"lines": []}), columns))
    if study.paper.curves:
        curves = study.paper.curves
        xs = dict.fromkeys(x for curve in curves.values() for x in curve)
        columns = {
            str(x): {name: f"{curve[x]:g}" for name, curve in curves.items() if x in curve}
            for x in xs
        }
        texts.append(_table("paper", study.model_copy(update={"lines": []}), columns))
    return "\n\n".join(texts)


def list_facts(
    study: Study, rows: Sequence[Row], experiments: Sequence[Experiment | None]
) -> list[str]:
    """Say what a reader must know: seeds, holes, marks, and each experiment with its settings.

    Args:
        study: its definition.
        rows: what `collect` made of it.
        experiments: of its points; None: the workspace's own results.
    """
    facts = []
    if rows:
        counts = sorted({len(row.values) for row in rows})
        facts.append(
            f"Mean ± standard deviation over {' or '.join(map(str, counts))} seeds; a seed has its "
            "own few-shot images."
        )
    if study.against and any(row.over for row in rows):
        facts.append(f"In brackets: points over {study.against}, the same seeds, mean ± spread.")
    facts += [f"No value for {row}." for row in missing_lines(study, rows)]
    if any(row.is_marked for row in rows):
        facts.append("**Learning rates were selected on test images**, which flatters.")
    if None in experiments:
        facts.append("Without an experiment of its own: the workspace's own results (`dvc repro`).")
    facts += [f"{one.name}: `{' '.join(one.options)}`" for one in experiments if one]
    return facts


def render(
    study: Study, name: str, scale: ScaleName, body: str, facts: Sequence[str], figure: Path | None
) -> str:
    """Return the page of a study as Markdown.

    Args:
        study: its definition.
        name: of the study.
        scale: that it was run at.
        body: its tables.
        facts: what a reader must know beyond them, a line each.
        figure: the picture beside the page, if there is one.
    """
    reading = "" if study.reading == "stated" else "; which figure shows what: our reading"
    parts = [
        f"# {study.title}",
        f"{study.source}{reading}. Scale: **{scale}**; the paper's: {study.paper.scale}.",
        study.question,
        f"![{study.title}]({figure.name})" if figure else "",
        body,
        f"## The paper\n\n{paper_tables(study)}",
        "## To know\n\n" + "\n".join(f"- {fact}" for fact in [*study.notes, *facts]),
        f"Made by `python src study {name} --scale {scale}`, from `studies/{name}.yaml`; every "
        "value with its seeds, experiment and commit: [points.csv](points.csv).",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"
