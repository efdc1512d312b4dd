"""Arms on CLIP stand beside the backbone's, and decide nothing about them."""

import csv
import json

import numpy as np
import pytest
from evidence.simulated import simulate_runs, write_run

from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.plots import plot_accuracy
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.tables import accuracy_table, results_table
from synthbridge.stages.report import report

SHOTS, SEEDS = (1, "full"), (1, 2)


def simulate_clip(folder, labels, *, dataset="digits"):
    """Write zero-shot CLIP and tuned arms, tested on the images with `labels`."""
    rng = np.random.default_rng(5)
    cells = [("real", "clip_zero_shot", 0, 0)]
    cells += [("real", "clip_vanilla", shots, seed) for shots in SHOTS for seed in SEEDS]
    cells += [("template", "clip_mixed", shots, seed) for shots in SHOTS for seed in SEEDS]
    for method, arm, shots, seed in cells:
        correct = rng.random(len(labels)) < 0.4
        write_run(folder / method / arm, dataset, method, "template", arm, shots, seed, correct,
                  labels, rng, selection={}, extra_top1=0.25, extra_mean_per_class=0.2)  # fmt: skip


@pytest.fixture
def final(tmp_path):
    folder = tmp_path / "final"
    simulate_runs(folder, shots=SHOTS, seeds=SEEDS, num_test=80)
    labels = read_runs([folder])[0].labels
    simulate_clip(folder / "clip", labels)
    return folder


def test_zero_shot_stands_at_every_shot_count_without_spread(final):
    runs = read_runs([final])
    table = accuracy_table(runs)
    rows = table[table["arm"] == "clip_zero_shot"]
    (run,) = [run for run in runs if run.arm == "clip_zero_shot"]
    assert rows["shots"].tolist() == [1, "full"]
    assert rows["top1"].tolist() == [run.top1, run.top1]
    assert rows["top1_spread"].isna().all()
    assert set(rows["model"]) == {"CLIP"}
    assert 0 not in table["shots"].tolist()
    assert (results_table(runs)["shots"] == 0).sum() == 1


def test_they_are_compared_with_clip_alone_and_decide_no_verdict(final, settings):
    runs = read_runs([final])
    plain = [run for run in runs if not run.arm.startswith("clip_")]
    comparisons = compare_runs(runs, settings)
    on_clip = [row for row in comparisons if row.arm.startswith("clip_")]
    assert {(row.arm, row.reference) for row in on_clip} == {("clip_mixed", "clip_vanilla")}
    assert [row for row in comparisons if row not in on_clip] == compare_runs(plain, settings)


def test_the_plot_says_that_it_is_another_model(final):
    figure = plot_accuracy(accuracy_table(read_runs([final])), measure="top1",
                           primary_arm="bridged")  # fmt: skip
    labels = {line.get_label(): line for line in figure.axes[0].get_lines()}
    line = labels["clip_zero_shot (another model)"]
    assert len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2


def test_the_page_sets_them_apart(final, settings, tmp_path):
    report(settings, final=[final], out=tmp_path / "metrics")
    page = (tmp_path / "metrics/report.html").read_text()
    assert "CLIP, another model" in page and "seeds\n1, 2." in page
    first = page.index("CLIP, another model")
    assert "clip_zero_shot" not in page[page.index("Accuracy against") : first].split("<tbody>")[1]
    assert "extra test set, top-1" in page and "25.0" in page
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())["digits"]
    assert summary["extra_top1"]["real"]["clip_vanilla"] == {"1": 25.0, "full": 25.0}
    assert "vanilla" not in summary["extra_top1"]["real"]


def test_without_clip_nothing_of_it_is_said(settings, tmp_path):
    """upstream.clip is null: the stage leaves an index without runs."""
    simulate_runs(tmp_path / "final", shots=SHOTS, seeds=SEEDS, num_test=80)
    write_json(tmp_path / "clip" / "index.json", {"dataset": "digits", "num_runs": 0})
    report(settings, final=[tmp_path / "final", tmp_path / "clip"], out=tmp_path / "metrics")
    assert "CLIP" not in (tmp_path / "metrics/report.html").read_text()


def test_their_stated_rate_bears_no_mark(settings, tmp_path):
    folder = tmp_path / "final"
    simulate_runs(folder, shots=SHOTS, seeds=SEEDS, num_test=80, selected_on="test")
    simulate_clip(folder / "clip", read_runs([folder])[0].labels)
    report(settings, final=[folder], out=tmp_path / "metrics")
    with (tmp_path / "metrics/accuracy.csv").open(newline="") as file:
        marks = {row["arm"]: row["learning_rate_selected_on"] for row in csv.DictReader(file)}
    assert marks["clip_vanilla"] == "none" and marks["bridged"] == "test"
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())["digits"]
    assert set(summary["accuracy"]["real"]) == {"clip_zero_shot", "clip_vanilla"}


def test_long_tailed_data_are_told_by_frequency(final, settings, tmp_path):
    counts = [75, 58, 45, 35, 27, 21, 16, 13, 10, 8]
    write_json(tmp_path / "digits" / "manifest.json", {"train_counts": counts})
    pixels = encode_png(np.zeros((16, 16, 3), np.uint8))
    sample = {"__key__": "x", "png": pixels, "cls": 0, "json": {}}
    write_shard(tmp_path / "digits" / "train-00000.tar", [sample])
    report(settings, final=[final], real=[tmp_path / "digits"], out=tmp_path / "metrics")
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())["digits"]
    assert list(summary["accuracy_few"]["real"]["vanilla"]) == ["full"]
    assert "rare classes" in (tmp_path / "metrics/report.html").read_text()
