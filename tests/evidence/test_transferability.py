import numpy as np
import pandas as pd
import pytest
from evidence.simulated import simulate_probe, simulate_runs

from synthbridge.evidence import results  # pytest would take an imported TestedModel for a test
from synthbridge.evidence.readings import read_probes
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.transferability import (
    FEWEST_POINTS,
    gains_over_vanilla,
    transferability_notes,
    transferability_rows,
    transferability_table,
)


def make_run(name, seed, top1, arm="bridged", stage_one="plain", shots=4):
    return results.TestedModel(
        dataset="digits",
        method=name,
        set=name,
        arm=arm,
        shots=shots,
        seed=seed,
        learning_rate=0.1,
        selection={},
        selected_on="validation",
        num_train=1,
        gradient_steps=1,
        top1=top1,
        mean_per_class=top1,
        train_accuracy=(),
        correct=np.ones(1, bool),
        labels=np.ones(1, int),
        stage_one=stage_one,
    )


def vanilla(seed, top1, shots=4):
    return make_run("real", seed, top1, arm="vanilla", stage_one=None, shots=shots)


def probes(scores, measure="leep", model="plain"):
    about = {"dataset": "digits", "model": model, "measure": measure}
    return pd.DataFrame(
        [
            {**about, "set": name, "method": name, "seed": seed, "value": value}
            for (name, seed), value in scores.items()
        ]
    )


def test_gains_are_paired_by_seed_and_only_of_models_trained_on():
    runs = [
        vanilla(0, 50.0),
        vanilla(1, 60.0),
        make_run("a", 0, 55.0),
        make_run("a", 1, 61.0),
        make_run("a", 0, 30.0, arm="synthetic_only"),
        make_run("a", 2, 70.0),
    ]
    assert [(g.run.seed, g.points) for g in gains_over_vanilla(runs, "top1")] == [(0, 5), (1, 1)]


def test_the_rank_correlation_by_hand():
    """Ranks of the scores 1 2 3 4 5, of the gains 2 1 3 4 5: 1 - 6 x 2 / (5 x 24) = 0.9."""
    gains = [2.0, 1.0, 3.0, 4.0, 5.0]
    runs = [vanilla(0, 50.0)]
    runs += [make_run(f"set{i}", 0, 50 + gain) for i, gain in enumerate(gains)]
    table = transferability_table(
        probes({(f"set{i}", 0): -3.0 + i**2 for i in range(5)}), runs, "top1"
    )
    [row] = table.to_dict("records")
    assert row["spearman"] == pytest.approx(0.9)
    assert (row["measure"], row["num_points"], row["num_sets"]) == ("leep", 5, 5)
    [shown] = transferability_rows(table)
    assert shown.pop("cells") == ["+0.90", "\N{EN DASH}"]
    assert shown == {"arm": "bridged", "shots": "4 shots", "num_points": 5, "num_sets": 5}
    assert transferability_notes(table) == []


def test_too_few_points_are_said():
    runs = [vanilla(0, 50.0), make_run("a", 0, 51.0), make_run("b", 0, 52.0)]
    table = transferability_table(probes({("a", 0): -1.0, ("b", 0): -2.0}, "logme"), runs, "top1")
    assert table["spearman"].isna().all()
    assert transferability_notes(table) == [
        "2 points of an arm and number of shots are too few to say anything: "
        f"{FEWEST_POINTS} are needed."
    ]


def test_scores_that_are_all_alike_have_no_order():
    runs = [vanilla(seed, 50.0) for seed in range(5)]
    runs += [make_run("a", seed, 50.0 + seed) for seed in range(5)]
    table = transferability_table(probes({("a", seed): -1.0 for seed in range(5)}), runs, "top1")
    assert transferability_rows(table)[0]["cells"] == ["\N{EN DASH}"] * 2


def test_from_disk_a_model_meets_the_runs_that_started_from_it(tmp_path):
    simulate_runs(tmp_path / "final", num_test=80, shots=[1, 4])
    simulate_probe(tmp_path / "probe.json")
    table = transferability_table(
        read_probes([tmp_path / "probe.json"], "digits"),
        read_runs([tmp_path / "final"], "digits"),
        "top1",
    )
    cells = table[table["measure"] == "leep"].set_index(["arm", "shots"])["num_points"]
    assert cells["bridged", 4] == 6 and cells["bridged", 1] == 3  # dsi_1 was not probed
    assert not {"vanilla", "mixed", "synthetic_only"} & set(table["arm"])
    assert any("All models are of 2 sets" in note for note in transferability_notes(table))


def test_nothing_probed_is_an_empty_table():
    table = transferability_table(
        read_probes([], "digits"), [vanilla(0, 50.0), make_run("a", 0, 51.0)], "top1"
    )
    assert table.empty and transferability_rows(table) == transferability_notes(table) == []
