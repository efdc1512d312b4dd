"""Forecasts: do LEEP and LogME of a stage-one model foretell what fine-tuning gains from it?

A point is one stage-one model (a set, a seed): its score before any real image was trained on, and
the gain of the run that started from it over vanilla with the same shots and seed. Points of one
arm and number of shots are ranked against each other (Spearman).
"""

import warnings
from dataclasses import dataclass
from typing import Any

import pandas as pd

from synthbridge.evidence.comparisons import shots_words
from synthbridge.evidence.results import REFERENCE, SYNTHETIC_ONLY, Run
from synthbridge.evidence.tables import groups_of, rows_with

FORECASTS = {"leep": "LEEP", "logme": "LogME"}

# With four points even the best order of all comes by chance once in 24 times, in either direction
# once in 12: a correlation of fewer than five can say nothing at 95 %.
FEWEST_POINTS = 5

COLUMNS = ["dataset", "arm", "shots", "measure", "num_points", "num_sets", "spearman", "p_value"]


@dataclass(frozen=True)
class Gain:
    """What one run gained over vanilla."""

    run: Run
    points: float


def gains_over_vanilla(runs: list[Run], measure: str) -> list[Gain]:
    """List the gain of every run that trained a stage-one model on, where vanilla ran too.

    Args:
        runs: all of them.
        measure: `top1` or `mean_per_class`.
    """
    vanilla = {
        (run.dataset, run.shots, run.seed): getattr(run, measure)
        for run in runs
        if run.arm == REFERENCE
    }
    return [
        Gain(run, getattr(run, measure) - vanilla[run.dataset, run.shots, run.seed])
        for run in runs
        if run.stage_one is not None and run.arm != SYNTHETIC_ONLY
        if (run.dataset, run.shots, run.seed) in vanilla
    ]


def forecast_table(probes: pd.DataFrame, runs: list[Run], measure: str) -> pd.DataFrame:
    """Return a row an arm, number of shots and forecast: COLUMNS.

    The correlation is missing where there are fewer than FEWEST_POINTS points, or where the scores
    or the gains are all alike.

    Args:
        probes: what `read_probes` returns.
        runs: all of them.
        measure: the accuracy whose gain counts.
    """
    points = _points(probes, gains_over_vanilla(runs, measure))
    rows = []
    for cell, group in groups_of(points, COLUMNS[:4]):
        rows.append([*cell, len(group), group["set"].nunique(), *_spearman(group)])
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _points(probes: pd.DataFrame, gains: list[Gain]) -> pd.DataFrame:
    """Put each gain beside the scores of the model that it started from."""
    scored = rows_with(probes, "measure", list(FORECASTS))
    scores = {
        (row["dataset"], row["set"], row["model"], row["seed"], row["measure"]): row["value"]
        for row in scored.to_dict("records")
    }
    columns = ["dataset", "arm", "shots", "measure", "set", "score", "gain"]
    rows = []
    for gain in gains:
        run = gain.run
        for measure in FORECASTS:
            score = scores.get((run.dataset, run.set, run.stage_one, run.seed, measure))
            if score is not None:
                rows.append([run.dataset, run.arm, run.shots, measure, run.set, score, gain.points])
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _spearman(points: pd.DataFrame) -> tuple[float, float]:
    if len(points) < FEWEST_POINTS:
        return float("nan"), float("nan")
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scores that are all alike have no rank: NaN
        found: Any = spearmanr(points["score"], points["gain"])
    return float(found.statistic), float(found.pvalue)


def forecast_sentence(row: dict[str, Any]) -> str:
    """Say what one row of `forecast_table` shows, or that it shows nothing."""
    name, shots = FORECASTS[row["measure"]], shots_words(row["shots"])
    about = f"{name} and the gains of {row['arm']} at {shots}"
    if row["num_points"] < FEWEST_POINTS:
        points = "1 point" if row["num_points"] == 1 else f"{row['num_points']} points"
        return f"{about}: {points}, too few to say anything ({FEWEST_POINTS} are needed)."
    if pd.isna(row["spearman"]):
        return f"{about}: the scores or the gains are all alike, so there is no order to compare."
    sets = "one set" if row["num_sets"] == 1 else f"{row['num_sets']} sets"
    value = f"{row['spearman']:+.2f}".replace("-", "\N{MINUS SIGN}")
    chance = f"p = {row['p_value']:.2g}" if row["p_value"] >= 0.001 else "p < 0.001"
    said = f"{about}: rank correlation {value} ({row['num_points']} models of {sets}, {chance})"
    if row["num_sets"] < FEWEST_POINTS:
        said += "; models of one set differ by their seed alone, so this says little of other sets"
    return f"{said}."


def forecast_sentences(forecasts: pd.DataFrame) -> list[str]:
    """Say every row of `forecast_table`."""
    rows: Any = forecasts.to_dict("records")
    return [forecast_sentence(row) for row in rows]
