import numpy as np
import pandas as pd
import pytest
from evidence.simulated import simulate_probe, simulate_runs

from synthbridge.evidence.forecasts import (
    FEWEST_POINTS,
    forecast_notes,
    forecast_rows,
    forecast_table,
    gains_over_vanilla,
)
from synthbridge.evidence.readings import read_probes
from synthbridge.evidence.results import TestedModel, read_runs


def make_run(name, seed, top1, arm="bridged", stage_one="plain", shots=4):
    return TestedModel("digits", name, name, arm, shots, seed, 0.1, {}, "validation", 1, 1, top1, top1, (),
               np.ones(1, bool), np.ones(1, int), stage_one=stage_one)  # fmt: skip


def vanilla(seed, top1, shots=4):
    return make_run("real", seed, top1, arm="vanilla", stage_one=None, shots=shots)


def probes(scores, measure="leep", model="plain"):
    return pd.DataFrame(
        [
            {"dataset": "digits", "set": name, "method": name, "model": model, "measure": measure,
             "seed": seed, "value": value}
            for (name, seed), value in scores.items()
        ]
    )  # fmt: skip


def test_gains_are_paired_by_seed_and_only_of_models_trained_on():
    runs = [vanilla(0, 50.0), vanilla(1, 60.0), make_run("a", 0, 55.0), make_run("a", 1, 61.0),
            make_run("a", 0, 30.0, arm="synthetic_only"), make_run("a", 2, 70.0)]  # fmt: skip
    assert [(g.run.seed, g.points) for g in gains_over_vanilla(runs, "top1")] == [(0, 5), (1, 1)]


def test_the_rank_correlation_by_hand():
    """Ranks of the scores 1 2 3 4 5, of the gains 2 1 3 4 5: 1 - 6 x 2 / (5 x 24) = 0.9."""
    gains = [2.0, 1.0, 3.0, 4.0, 5.0]
    runs = [vanilla(0, 50.0)]
    runs += [make_run(f"set{i}", 0, 50 + gain) for i, gain in enumerate(gains)]
    table = forecast_table(probes({(f"set{i}", 0): -3.0 + i**2 for i in range(5)}), runs, "top1")
    [row] = table.to_dict("records")
    assert row["spearman"] == pytest.approx(0.9)
    assert (row["measure"], row["num_points"], row["num_sets"]) == ("leep", 5, 5)
    assert forecast_rows(table) == [
        {"arm": "bridged", "shots": "4 shots", "num_points": 5, "num_sets": 5,
         "cells": ["+0.90", "\N{EN DASH}"]}
    ]  # fmt: skip
    assert forecast_notes(table) == []


def test_too_few_points_are_said():
    runs = [vanilla(0, 50.0), make_run("a", 0, 51.0), make_run("b", 0, 52.0)]
    table = forecast_table(probes({("a", 0): -1.0, ("b", 0): -2.0}, "logme"), runs, "top1")
    assert table["spearman"].isna().all()
    assert forecast_notes(table) == [
        "2 points of an arm and number of shots are too few to say anything: "
        f"{FEWEST_POINTS} are needed."
    ]


def test_scores_that_are_all_alike_have_no_order():
    runs = [vanilla(seed, 50.0) for seed in range(5)]
    runs += [make_run("a", seed, 50.0 + seed) for seed in range(5)]
    table = forecast_table(probes({("a", seed): -1.0 for seed in range(5)}), runs, "top1")
    assert forecast_rows(table)[0]["cells"] == ["\N{EN DASH}"] * 2


def test_from_disk_a_model_meets_the_runs_that_started_from_it(tmp_path):
    simulate_runs(tmp_path / "final", num_test=80, shots=[1, 4])
    simulate_probe(tmp_path / "probe.json")
    table = forecast_table(
        read_probes([tmp_path / "probe.json"]), read_runs([tmp_path / "final"]), "top1"
    )
    cells = table[table["measure"] == "leep"].set_index(["arm", "shots"])["num_points"]
    assert cells["bridged", 4] == 6 and cells["bridged", 1] == 3  # dsi_1 was not probed
    assert not {"vanilla", "mixed", "synthetic_only"} & set(table["arm"])
    assert any("All models are of 2 sets" in note for note in forecast_notes(table))


def test_nothing_probed_is_an_empty_table():
    table = forecast_table(read_probes([]), [vanilla(0, 50.0), make_run("a", 0, 51.0)], "top1")
    assert table.empty and forecast_rows(table) == forecast_notes(table) == []
