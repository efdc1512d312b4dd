import numpy as np
import pytest
from evidence.simulated import GAINS, REAL_GAINS, simulate_clip, simulate_runs, simulate_style

from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.figures import write_png
from synthbridge.evidence.plots import (
    plot_accuracy,
    plot_convergence,
    plot_differences,
    plot_grid,
    plot_primary_arm,
    plot_style_loss,
)
from synthbridge.evidence.readings import read_style_losses
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.tables import accuracy_table, convergence_table, smooth_losses


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder, num_test=200, seeds=range(5))
    return read_runs([folder], "digits")


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_accuracy_draws_the_means(runs, settings):
    table = accuracy_table(runs)
    figure = plot_accuracy(table, measure="top1", primary=settings.primary)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["with dsi images", "with template images"]
    lines = lines_of(figure.axes[0])
    assert set(lines) == {*REAL_GAINS, *GAINS}
    chosen = table[(table["method"] == "dsi") & (table["arm"] == "bridged")]["top1"]
    assert lines["bridged"].get_ydata() == pytest.approx(chosen.to_numpy())
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["1", "4", "full"]


def test_zero_shot_clip_is_a_level_line_of_another_model(runs, tmp_path):
    simulate_clip(tmp_path, runs[0].labels, shots=(1, "full"), seeds=(0, 1))
    table = accuracy_table([*runs, *read_runs([tmp_path], "digits")])
    figure = plot_accuracy(table, measure="top1", primary=None)
    line = lines_of(figure.axes[0])["clip_zero_shot (another model)"]
    assert len(set(line.get_ydata())) == 1
    assert line.get_xdata().tolist() == [0, 1, 2]  # at each of the shot counts 1, 4 and full


def test_accuracy_of_real_arms_and_one_shot_count_alone(runs, tmp_path):
    few = [run for run in runs if run.method == "real" and run.shots == 4 and run.seed == 0]
    figure = plot_accuracy(accuracy_table(few), measure="mean_per_class", primary=None)
    write_png(figure, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
    assert len(figure.axes) == 1


def marks_of(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata()) == 1]


def test_differences_fill_the_marks_of_sure_ones(runs, settings):
    comparisons = [row for row in compare_runs(runs, settings) if row.reference == "vanilla"]
    figure = plot_differences(comparisons, confidence=0.95)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["1 shot", "4 shots", "full data"]
    filled = set()
    for axes, shots in zip(figure.axes, (1, 4, "full"), strict=True):
        marks, rows = marks_of(axes), [row for row in comparisons if row.shots == shots]
        assert [mark.get_xdata()[0] for mark in marks] == [row.interval.difference for row in rows]
        for mark, row in zip(marks, rows, strict=True):
            assert (mark.get_markerfacecolor() != "white") == row.is_sure(0.95)
            assert (mark.get_marker() == "*") == row.is_primary
            filled.add(row.is_sure(0.95))
    assert filled == {True, False}
    bold = [label for label in figure.axes[0].get_yticklabels() if label.get_weight() == "bold"]
    assert [label.get_text() for label in bold] == ["bridged · dsi"]


def test_the_primary_arm_stands_against_all_that_it_is_compared_with(runs, settings):
    rows = [row for row in compare_runs(runs, settings) if row.arm == "bridged"]
    figure = plot_primary_arm(rows, arm="bridged", confidence=0.95)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [
        "dsi over vanilla",
        "dsi over vanilla_equal_steps",
        "dsi over mixed · dsi",
        "dsi over bridged · template",
        "template over vanilla",
        "template over vanilla_equal_steps",
        "template over mixed · template",
    ]
    stars = [[mark.get_marker() for mark in marks_of(axes)].count("*") for axes in figure.axes]
    assert stars == [0, 2, 0]  # at 4 shots


def test_differences_of_two_seeds_have_marks_and_no_intervals(runs, settings):
    rows = compare_runs([run for run in runs if run.seed < 2 and run.shots == 4], settings)
    figure = plot_differences(rows, confidence=0.95)
    [axes] = figure.axes
    assert len(marks_of(axes)) == len(rows) == len(axes.get_lines()) - 1  # the line at zero


def test_convergence_has_a_panel_a_shot_count(runs):
    figure = plot_convergence(convergence_table(runs, None))
    assert len(figure.axes) == 3
    vanilla, bridged = {"vanilla", "vanilla_equal_steps"}, {"bridged · dsi", "bridged · template"}
    assert set(lines_of(figure.axes[0])) == vanilla | bridged


def test_style_loss_has_a_panel_a_set(tmp_path):
    simulate_style(tmp_path / "dsi_4")
    simulate_style(tmp_path / "dsi_full", ["all"])
    folders = {name: tmp_path / name for name in ("dsi_4", "dsi_full")}
    losses = smooth_losses(read_style_losses(folders, "digits"))
    figure = plot_style_loss(losses)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["dsi_4", "dsi_full"]
    drawn = [line.get_label() for line in figure.axes[0].get_lines()]
    assert drawn == ["each step", "smoothed", "at fixed noise"] * 3  # of each of three tokens


def test_grid_lays_pictures_out_by_class_and_set():
    values = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3)
    tiles = np.broadcast_to(values[:, :, None, None, None], (2, 3, 32, 32, 3)).copy()
    figure = plot_grid({"real": tiles, "dsi": tiles + 100}, ["cat", "dog"])
    mosaic = figure.axes[0].get_images()[0].get_array()
    # Tiles of 32 with gaps of 2; sets stand 16 apart.
    for row in range(2):
        for column in range(3):
            y, x = row * 34 + 16, column * 34 + 16
            assert mosaic[y, x, 0] == values[row, column]
            assert mosaic[y, x + 3 * 34 + 16, 0] == values[row, column] + 100
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
