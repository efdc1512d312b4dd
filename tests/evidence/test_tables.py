import json
import math

import numpy as np
import pandas as pd
import pytest
from evidence.simulated import GAINS, simulate_clip, simulate_probe, simulate_runs, simulate_style

from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.readings import read_probes, read_style_losses
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.settings import PrimaryComparison
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
from synthbridge.evidence.verdict import primary_verdict


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder, shots=[1, "full"], num_test=100)
    return read_runs([folder], "digits")


def test_a_row_a_run(runs):
    table = results_table(runs)
    cells = table[["method", "arm", "shots", "seed"]].to_numpy().tolist()
    assert cells == [[run.method, run.arm, run.shots, run.seed] for run in runs]
    first = table.iloc[0]
    assert (first["arm"], first["shots"], first["seed"]) == ("vanilla", 1, 0)
    assert first["held_out_accuracy"] == pytest.approx(80.0)
    assert table[table["arm"] == "synthetic_only"]["learning_rate"].isna().all()


def test_mean_and_sample_spread(runs):
    row = accuracy_table(runs).iloc[0]
    values = [run.top1 for run in runs[:3]]
    assert row["top1"] == pytest.approx(np.mean(values))
    assert row["top1_spread"] == pytest.approx(np.std(values, ddof=1))
    assert row["num_seeds"] == 3


def test_one_seed_has_no_spread(runs):
    table = accuracy_table([run for run in runs if run.seed == 0])
    assert table["top1_spread"].isna().all()


def test_zero_shot_clip_stands_at_every_shot_count_without_spread(runs, tmp_path):
    simulate_clip(tmp_path, runs[0].labels, shots=(1, "full"), seeds=(0, 1))
    on_clip = read_runs([tmp_path], "digits")
    table = accuracy_table([*runs, *on_clip])
    rows = table[table["arm"] == "clip_zero_shot"]
    (run,) = [run for run in on_clip if run.arm == "clip_zero_shot"]
    assert rows["shots"].tolist() == [1, "full"]
    assert rows["top1"].tolist() == [run.top1, run.top1]
    assert rows["top1_spread"].isna().all()
    assert set(rows["model"]) == {"CLIP"}
    assert 0 not in table["shots"].tolist()
    assert (results_table(on_clip)["shots"] == 0).sum() == 1


def test_convergence_is_the_mean_over_seeds(runs):
    primary = PrimaryComparison(arm="bridged_pp", method="dsi", shots=1, reference="vanilla")
    table = convergence_table(runs, primary)
    assert set(table["arm"]) == {"vanilla", "vanilla_equal_steps", "bridged", "bridged_pp"}
    first = [run.train_accuracy[0] for run in runs[:3]]
    assert table.iloc[0]["train_accuracy"] == pytest.approx(np.mean(first))
    assert table.iloc[0]["spread"] == pytest.approx(np.std(first, ddof=1))
    assert table["epoch"].max() == 30


def test_convergence_without_curves_is_empty(runs):
    assert convergence_table([run for run in runs if run.arm == "mixed"], None).empty


def test_smoothing_keeps_a_constant_and_calms_noise(tmp_path):
    simulate_style(tmp_path, ["s0"])
    table = smooth_losses(read_style_losses({"dsi_4": tmp_path}, "digits"))
    assert table["smoothed"][50:].std() < 0.5 * table["loss"][50:].std()
    assert table["smoothed"].notna().all()
    flat = smooth_losses(table.assign(loss=0.3))
    assert flat["smoothed"].to_numpy() == pytest.approx(0.3)


def test_probe_table(tmp_path):
    simulate_probe(tmp_path / "digits.json")
    table = probe_table(read_probes([tmp_path], "digits"))
    upstream = table[(table["model"] == "upstream") & (table["measure"] == "leep")].iloc[0]
    assert upstream["mean"] == -1.9
    assert math.isnan(upstream["spread"])
    plain = table[(table["set"] == "dsi_4") & (table["measure"] == "leep")].iloc[0]
    assert plain["mean"] == pytest.approx(-0.89)
    assert plain["spread"] == pytest.approx(0.01)
    assert probe_table(read_probes([], "digits")).empty


def _at_one_shot(settings):
    primary = settings.primary.model_copy(update={"shots": 1})
    return settings.model_copy(update={"primary": primary})


def test_the_summary_holds_the_headline_figures(runs, settings):
    settings = _at_one_shot(settings)
    accuracy, comparisons = accuracy_table(runs), compare_runs(runs, settings)
    tree = summary(accuracy, comparisons, settings)
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    digits = tree.pop("digits")
    assert not tree and set(digits) == {"verdict", "accuracy", "gain"}
    assert digits["verdict"] == primary_verdict(comparisons, settings)
    own = accuracy[(accuracy["shots"] == 1) & accuracy["method"].isin(["real", "dsi"])]
    means = own.set_index("arm")["top1"]
    names = ("bridged", "vanilla", "vanilla_equal_steps")
    assert digits["accuracy"] == {name: round(means[name], 2) for name in names}
    assert set(digits["gain"]) == {"over_vanilla", "over_vanilla_equal_steps"}
    for name, gain in digits["gain"].items():
        points = means["bridged"] - means[name.removeprefix("over_")]
        assert gain["points"] == pytest.approx(points, abs=0.006)
        assert gain["low"] < gain["points"] < gain["high"]


def test_a_primary_comparison_without_runs_cannot_tell(runs, settings):
    found = summary(accuracy_table(runs), compare_runs(runs, settings), settings)["digits"]
    assert settings.primary.shots == 4 and found["verdict"] == "cannot tell"
    assert "vanilla" in found["accuracy"] and "bridged" not in found["accuracy"]


def test_the_summary_without_a_primary_comparison_has_each_arm_on_real_images(runs, settings):
    settings = settings.model_copy(update={"primary": None})
    alone = [run for run in runs if run.set is None]
    accuracy = accuracy_table(alone)
    found = summary(accuracy, compare_runs(alone, settings), settings)["digits"]
    assert set(found) == {"accuracy"}
    first = accuracy.iloc[0]
    assert found["accuracy"][first["arm"]][str(first["shots"])] == round(first["top1"], 2)
    assert set(found["accuracy"]) == set(accuracy["arm"])


def test_differences_table(runs, settings):
    comparisons = compare_runs(runs, settings)
    table = differences_table(comparisons)
    assert len(table) == len(comparisons)
    first = comparisons[0]
    assert table["p_value"][0] == first.interval.p_value and table["p_holm"][0] == first.p_holm
    of_template = table[table["reference_method"] == "template"]
    assert set(of_template["reference"]) == {*GAINS} and set(table["role"]) == {"exploratory"}
    assert list(differences_table([]).columns) == list(table.columns)


def test_two_seeds_leave_interval_and_p_value_empty(runs, settings, tmp_path):
    settings = _at_one_shot(settings)
    comparisons = compare_runs([run for run in runs if run.seed < 2], settings)
    write_csv(tmp_path / "a.csv", differences_table(comparisons))
    table = pd.read_csv(tmp_path / "a.csv")
    assert table[["low", "high", "p_value", "p_holm"]].isna().all(axis=None)
    assert table["difference"].notna().all()
    tree = summary(accuracy_table(runs), comparisons, settings)
    assert set(tree["digits"]["gain"]["over_vanilla"]) == {"points"}


def test_csv_is_the_same_and_reads_back(runs, tmp_path):
    table = with_series(accuracy_table(runs), ["method", "arm"])
    assert table["series"][0] == "real vanilla"
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, table)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    back = pd.read_csv(tmp_path / "a.csv")
    assert back["top1"].to_numpy() == pytest.approx(table["top1"].to_numpy(), rel=1e-5)
