"""A study's rows as a table, a figure and a page, the paper's numbers beside them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthbridge.core.files import write_text
from synthbridge.data.run_metrics import ONCE
from synthbridge.evidence.figures import COLOURS, DASHES, FAINT, INK, MARKERS, STYLE, legend_below
from synthbridge.studies.collect import Row, missing_lines
from synthbridge.studies.definition import Reading, ScaleName, Study, X
from synthbridge.studies.differences import CONFIDENCE, LogFit, fit_logarithm, interval_over_seeds
from synthbridge.studies.experiments import Experiment

# Dashes of what does not vary: most of these lines are grey, and tell themselves apart by them.
FLAT = (
    *DASHES[1:],
    (0, (9, 2)),
    (0, (1, 3)),
    (0, (4, 1.5, 1, 1.5, 1, 1.5)),
    (0, (2, 2)),
    (0, (9, 1.5, 3, 1.5)),
)
WORDS = {
    "top1": "test accuracy (%)",
    "mean_per_class": "mean per class accuracy (%)",
    "leep": "LEEP",
    "leep_random_head": "LEEP, random head",
    "fixed_feature_accuracy": "accuracy on frozen features (%)",
    "texture_accuracy": "test accuracy, texture alone (%)",
    "shape_accuracy": "test accuracy, shape alone (%)",
    "extra_top1": "accuracy out of domain (%)",
    "extra_mean_per_class": "mean per class accuracy out of domain (%)",
}
# Behind the figure's or table's number, where the paper does not say what we show.
READINGS: dict[Reading, str] = {
    "stated": "",
    "reconstruction": "; how it is done: our reading",
    "ours": "; no figure or table of a paper: our own question",
}
Fits = Mapping[tuple[str, str], LogFit]  # by data set and row
WIDTH, HEIGHT = 4.0, 3.4  # inches a panel

# Of points.csv.
COLUMNS: tuple[str, ...] = (
    "study",
    "scale",
    "row",
    "control",
    "dataset",
    "shots",
    "x",
    "measure",
    "mean",
    "spread",
    "num_seeds",
    "over",
    "over_low",
    "over_high",
    "gradient_steps",
    "learning_rate_selected_on",
    "experiment",
    "commit",
    "values",
)


# --- the points ----------------------------------------------------------------------------------


def write_points(path: Path, name: str, scale: ScaleName, rows: Sequence[Row]) -> None:
    """Write every row with its seeds, and the experiment that made it, as CSV."""
    file = io.StringIO()
    records = [{"study": name, "scale": scale, **_record(row)} for row in rows]
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    write_text(path, file.getvalue())


def _record(row: Row) -> dict[str, Any]:
    """Return a row's columns."""
    over = list(row.over.values())
    low, high = interval_over_seeds(over) or (None, None)
    return {
        "row": row.row,
        "control": int(row.is_control),
        "dataset": row.dataset,
        "shots": row.shots,
        "x": row.x,
        "measure": row.measure,
        "mean": _number(row.mean),
        "spread": _number(row.spread),
        "num_seeds": len(row.values),
        "over": _number(mean(over) if over else None),
        "over_low": _number(low),
        "over_high": _number(high),
        "gradient_steps": row.gradient_steps,
        "learning_rate_selected_on": "test" if row.is_marked else "",
        "experiment": row.experiment,
        "commit": row.commit,
        "values": " ".join(f"{seed}:{value:.6g}" for seed, value in sorted(row.values.items())),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


# --- the tables ----------------------------------------------------------------------------------


def cell(row: Row) -> str:
    """Return the mean and its paired difference with its interval, or else its spread."""
    digits = 2 if row.measure.startswith("leep") else 1
    text = f"{row.mean:.{digits}f}"
    if not row.over:
        return text if row.spread is None else f"{text} ± {row.spread:.{digits}f}"
    over = list(row.over.values())
    text += f" ({mean(over):+.{digits}f}"
    if interval := interval_over_seeds(over):
        text += " [" + ", ".join(f"{end:+.{digits}f}" for end in interval) + "]"
    return f"{text})"


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
        ours = {title: {row.row: cell(row) for row in panel} for title, panel in panels.items()}
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
        if study.rivals.get(name) not in (None, study.against):
            shown += f", over {study.rivals[name]}"
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


# --- the fits ------------------------------------------------------------------------------------


def fit_rows(study: Study, rows: Sequence[Row], num_all: Mapping[str, float]) -> Fits:
    """Fit the rows that the study names; `num_all`: real images a class of each data set."""
    fits = {}
    for row in study.fits:
        for dataset, number in num_all.items():
            own = [one for one in rows if (one.row, one.dataset) == (row, dataset)]
            fit = fit_logarithm({one.shots: one.mean for one in own if one.shots}, number)
            if fit:
                fits[dataset, row] = fit
    return fits


def fit_words(fits: Fits) -> str:
    """Return the fits as Markdown, a line each."""
    return "\n".join(
        f"- {dataset}, {row}, fitted: {fit}; all: {fit.num_all:g} real images a class"
        for (dataset, row), fit in fits.items()
    )


# --- the page ------------------------------------------------------------------------------------


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
        seeds = sorted({seed for row in rows for seed in row.values if seed != ONCE})
        facts.append(
            f"Means over the {len(seeds)} seeds that all rows have ({', '.join(seeds)}), ± their "
            "standard deviation; a seed has its own few-shot images."
        )
    if any(row.over for row in rows):
        facts.append(
            f"In brackets: points over *{study.against}*, or over the row that is named beside the "
            f"row's own name, the same seeds, and the interval of a paired t at "
            f"{100 * CONFIDENCE:g} %. **All rows are explorations**: nobody named one before the "
            "run, nothing is corrected for their number, and of twenty intervals around no "
            "difference one or more exclude 0: the interval is over seeds alone, with the test "
            "images as they are."
        )
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
    parts = [
        f"# {study.title}",
        f"{study.cites}{READINGS[study.reading]}. Scale: **{scale}**; the paper's: "
        f"{study.paper.scale}.",
        study.question,
        f"![{study.title}]({figure.name})" if figure else "",
        body,
        f"## The paper\n\n{paper_tables(study)}",
        "## To know\n\n" + "\n".join(f"- {fact}" for fact in [*study.notes, *facts]),
        f"Made by `python src study {name} --scale {scale}`, from `studies/{name}.yaml`; every "
        "value with its seeds, experiment and commit: [points.csv](points.csv).",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


# --- the figure ----------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def draw_figure(
    study: Study, scale: ScaleName, rows: Sequence[Row], fits: Fits | None = None
) -> Figure:
    """Draw every line of a study over its axis, with one spread over seeds each side.

    Places stand evenly, whatever their distance: the axes of the papers are lists.
    """
    panels = panels_of(study, rows)
    num = len(panels) + bool(study.paper.curves)
    figure = Figure(figsize=(WIDTH * max(num, 1.6), HEIGHT + 1), layout="constrained")
    axes = figure.subplots(1, num, squeeze=False)[0].tolist()
    looks = _looks(study)
    for panel, (title, inside) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, study, inside, looks)
        own = {row: fit for (dataset, row), fit in (fits or {}).items() if dataset == title}
        for row, fit in own.items():
            shots = places(study, inside)
            look = {**looks[row], "marker": "", "linestyle": DASHES[2]}
            panel.plot([fit.at(str(x)) for x in shots], label=f"{row}, fitted", **look)
        panel.set_title(f"{title} ({scale})")
        panel.set_ylabel(WORDS[study.measure])
    if study.paper.curves:
        _draw_paper(axes[-1], study)
    if any(row.is_marked for row in rows):
        figure.suptitle("Learning rate selected on test images", fontweight="bold")
    legend_below(figure, axes)
    return figure


def _looks(study: Study) -> dict[str, dict[str, Any]]:
    """Give each line its look: the row compared with in ink, controls grey, the rest coloured."""
    looks: dict[str, dict[str, Any]] = {}
    num_plain = num_coloured = 0
    for line in study.lines:
        if line.row == study.against or line.is_control:
            colour = INK if line.row == study.against else FAINT
            index, num_plain = num_plain, num_plain + 1
        else:
            colour = COLOURS[num_coloured % len(COLOURS)]
            index, num_coloured = num_coloured, num_coloured + 1
        looks[line.row] = {
            "color": colour,
            "marker": MARKERS[index % 6],
            "linestyle": DASHES[index // 6 % 4],
        }
    return looks


def _draw_panel(
    panel: Axes, study: Study, rows: Sequence[Row], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    xs = places(study, rows)
    num_flat = 0
    for number, line in enumerate(study.lines):
        own = {row.x: row for row in rows if row.row == line.row}
        if None in own:  # does not vary
            look = {**looks[line.row], "marker": "", "linestyle": FLAT[num_flat % len(FLAT)]}
            num_flat += 1
            flat = own[None]
            spread = flat.spread or 0
            panel.axhline(flat.mean, label=line.row, **look)
            panel.axhspan(flat.mean - spread, flat.mean + spread, color=look["color"], alpha=0.06)
            continue
        found = [(index, own[x]) for index, x in enumerate(xs) if x in own]
        if found:
            # Beside one another, so that bars of one spread each side can be told apart.
            beside = 0.3 * (number / len(study.lines) - 0.5)
            panel.errorbar(
                [index + beside for index, _ in found],
                [row.mean for _, row in found],
                yerr=[row.spread or 0 for _, row in found],
                label=line.row,
                elinewidth=0.8,
                capsize=2,
                **looks[line.row],
            )
    _label_axis(panel, study.axis, xs)


def _label_axis(panel: Axes, words: str | None, xs: Sequence[X]) -> None:
    labels = [str(x) for x in xs]
    is_long = any(len(label) > 6 for label in labels)
    panel.set_xticks(
        range(len(xs)), labels, rotation=25 if is_long else 0, ha="right" if is_long else "center"
    )
    panel.set_xlabel("real images a class (shots)" if words == "shots" else words or "")


def _draw_paper(panel: Axes, study: Study) -> None:
    """Draw what the paper reports, in a panel of its own: other data, another scale."""
    xs = list(dict.fromkeys(x for curve in study.paper.curves.values() for x in curve))
    for index, (name, curve) in enumerate(study.paper.curves.items()):
        where = [place for place, x in enumerate(xs) if x in curve]
        values = [curve[xs[place]] for place in where]
        panel.plot(
            where,
            values,
            label=f"{name} (paper)",
            color=COLOURS[-1 - index % 6],
            linestyle=DASHES[2],
            marker=MARKERS[index % 6],
        )
    panel.set_title(f"the paper ({study.paper.scale})")
    _label_axis(panel, study.paper.axis, xs)


@matplotlib.rc_context(STYLE)
def draw_curves(study: Study, scale: ScaleName, curves: Sequence[Mapping[str, str]]) -> Figure:
    """Draw training accuracy an epoch of the last leg.

    Args:
        study: whose lines name arms and sets.
        scale: of the study.
        curves: rows of the report's convergence.csv: dataset, method, arm, shots, epoch,
            train_accuracy, spread.
    """
    looks = _looks(study)
    titles = list(dict.fromkeys((row["dataset"], row["shots"]) for row in curves))
    figure = Figure(figsize=(WIDTH * max(len(titles), 1.6), HEIGHT + 1), layout="constrained")
    axes = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0].tolist()
    for panel, (dataset, shots) in zip(axes, titles, strict=True):
        for line in study.lines:
            own = [
                row
                for row in curves
                if (row["dataset"], row["shots"], row["arm"]) == (dataset, shots, line.arm)
                and row["method"] in (line.sets or ["real"])
            ]
            look = {**looks[line.row], "marker": ""}
            epochs = [int(row["epoch"]) for row in own]
            means = [float(row["train_accuracy"]) for row in own]
            spreads = [float(row["spread"] or 0) for row in own]
            panel.plot(epochs, means, label=line.row, **look)
            low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
            high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
            panel.fill_between(epochs, low, high, color=look["color"], alpha=0.1, lw=0)
        panel.set_title(f"{dataset}, {shots_words(shots)} ({scale})")
        panel.set_xlabel("epoch on real images")
    axes[0].set_ylabel("training accuracy (%)")
    legend_below(figure, axes)
    return figure
