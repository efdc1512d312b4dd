"""Transferability: do LEEP and LogME of a stage-one model rank what fine-tuning gains from it?

A point is one stage-one model (a set, a seed): its score before any real image was trained on, and
the gain of the run that started from it over vanilla with the same shots and seed. Points of one
arm and number of shots are ranked against each other (Spearman). No p-value is given: models of one
set are no independent points.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from synthbridge.evidence.comparisons import DASH, shots_words
from synthbridge.evidence.ranks import FEWEST_POINTS, spearman
from synthbridge.evidence.results import REFERENCE, SYNTHETIC_ONLY, TestedModel
from synthbridge.evidence.tables import groups_of, rows_with

SCORES = {"leep": "LEEP", "logme": "LogME"}

COLUMNS = ["dataset", "arm", "shots", "measure", "num_points", "num_sets", "spearman"]


@dataclass(frozen=True)
class Gain:
    """What one run gained over vanilla."""

    run: TestedModel
    points: float


def gains_over_vanilla(runs: list[TestedModel], measure: str) -> list[Gain]:
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


def transferability_table(
    probes: pd.DataFrame, runs: list[TestedModel], measure: str
) -> pd.DataFrame:
    """Return a row an arm, number of shots and score: COLUMNS.

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
        found = spearman(group["score"].tolist(), group["gain"].tolist())
        rho = math.nan if found is None else found
        rows.append([*cell, len(group), group["set"].nunique(), rho])
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _points(probes: pd.DataFrame, gains: list[Gain]) -> pd.DataFrame:
    """Put each gain beside the scores of the model that it started from."""
    scored = rows_with(probes, "measure", list(SCORES))
    scores = {
        (row["dataset"], row["set"], row["model"], row["seed"], row["measure"]): row["value"]
        for row in scored.to_dict("records")
    }
    columns = ["dataset", "arm", "shots", "measure", "set", "score", "gain"]
    rows = []
    for gain in gains:
        run = gain.run
        for measure in SCORES:
            score = scores.get((run.dataset, run.set, run.stage_one, run.seed, measure))
            if score is not None:
                rows.append([run.dataset, run.arm, run.shots, measure, run.set, score, gain.points])
    return pd.DataFrame(rows, columns=pd.Index(columns))


def transferability_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row an arm and number of shots for the page, the scores side by side."""
    rows = []
    for (arm, shots), group in groups_of(table, ["arm", "shots"]):
        found = {row["measure"]: row["spearman"] for row in group.to_dict("records")}
        rows.append(
            {
                "arm": arm,
                "shots": shots_words(shots),
                "num_points": int(group["num_points"].iloc[0]),
                "num_sets": int(group["num_sets"].iloc[0]),
                "cells": [_signed(found.get(measure)) for measure in SCORES],
            }
        )
    return rows


def _signed(value: float | None) -> str:
    if value is None or pd.isna(value):
        return DASH
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def transferability_notes(table: pd.DataFrame) -> list[str]:
    """Say what the rows cannot tell."""
    notes, rows = [], table.to_dict("records")
    few = [row["num_points"] for row in rows if row["num_points"] < FEWEST_POINTS]
    if few:
        points = "1 point" if max(few) == 1 else f"{max(few)} points"
        notes.append(
            f"{points} of an arm and number of shots are too few to say anything: "
            f"{FEWEST_POINTS} are needed."
        )
    sets = max((int(row["num_sets"]) for row in rows), default=FEWEST_POINTS)
    if sets < FEWEST_POINTS and len(few) < len(rows):
        of = "one set" if sets == 1 else f"{sets} sets"
        notes.append(
            f"All models are of {of}; those of one set differ by their seed alone. So this says "
            f"little of other sets: {FEWEST_POINTS} sets are needed to rank sets by a score."
        )
    return notes
