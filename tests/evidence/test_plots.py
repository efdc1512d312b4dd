import numpy as np
import pandas as pd
import pytest
from evidence.simulated import simulate_clip, simulate_runs, simulate_style
from matplotlib.figure import Figure

from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.plots import (
    MOST_POINTS,
    WIDTH,
    accuracy_plot,
    convergence_plot,
    differences_plot,
    draw_panel,
    grid_figure,
    primary_arm_plot,
    style_loss_plot,
    thinned,
    write_plot,
)
from synthbridge.evidence.readings import read_style_losses
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.tables import accuracy_table, convergence_table, smooth_losses

SHOTS = ["1 shot", "4 shots", "full data"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder, num_test=200, seeds=range(5))
    return read_runs([folder], "digits")


def titles_of(plot):
    return {group.title: [panel.title for panel in group.panels] for group in plot}


def axes_of(plot, group, panel=""):
    """Draw one panel and return its axes."""
    [found] = [
        each for part in plot for each in part.panels if (part.title, each.title) == (group, panel)
    ]
    [axes] = draw_panel(found).axes
    return axes


def named(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def lines_of(axes):
    """Return the data lines, bars left out, by their label."""
    return {container.get_label(): container.lines[0] for container in axes.containers}


def test_accuracy_has_a_panel_a_set_and_family(runs, settings):
    plot = accuracy_plot(accuracy_table(runs), measure="top1", primary=settings.primary)
    families = ["bridged", "mixed", "synthetic_only"]
    assert titles_of(plot) == {
        "": ["real images only"],
        "with dsi images": families,
        "with template images": families,
    }
    for group in plot:
        for panel in group.panels:
            assert len(named(axes_of(plot, group.title, panel.title))) <= 5


def test_accuracy_draws_the_means_beside_vanilla_and_its_control(runs, settings):
    table = accuracy_table(runs)
    plot = accuracy_plot(table, measure="top1", primary=settings.primary)
    axes = axes_of(plot, "with dsi images", "bridged")
    lines = lines_of(axes)
    arms = {"vanilla", "vanilla_equal_steps", "bridged", "bridged_fc_reinit", "bridged_pp"}
    assert set(lines) == arms
    chosen = table[(table["method"] == "dsi") & (table["arm"] == "bridged")]["top1"]
    assert lines["bridged"].get_ydata() == pytest.approx(chosen.to_numpy())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "full"]


def test_lines_are_named_in_the_order_in_which_they_end(runs, settings):
    plot = accuracy_plot(accuracy_table(runs), measure="top1", primary=settings.primary)
    axes = axes_of(plot, "with dsi images", "mixed")
    ends = {name: line.get_ydata()[-1] for name, line in lines_of(axes).items()}
    assert named(axes) == sorted(ends, key=lambda name: -ends[name])


def test_panels_of_one_model_share_their_scale(runs, settings):
    plot = accuracy_plot(accuracy_table(runs), measure="top1", primary=settings.primary)
    limits = {
        axes_of(plot, group.title, panel.title).get_ylim()
        for group in plot
        for panel in group.panels
    }
    assert len(limits) == 1


def test_zero_shot_clip_is_a_level_line_of_another_model(runs, tmp_path):
    simulate_clip(tmp_path, runs[0].labels, shots=(1, "full"), seeds=(0, 1))
    table = accuracy_table([*runs, *read_runs([tmp_path], "digits")])
    plot = accuracy_plot(table, measure="top1", primary=None)
    line = lines_of(axes_of(plot, "", "CLIP, another model"))["clip_zero_shot"]
    assert len(set(line.get_ydata())) == 1
    assert np.round(line.get_xdata().astype(float)).tolist() == [
        0,
        1,
        2,
    ]  # at each of the shots 1, 4 and full
    assert not any("clip" in name for name in lines_of(axes_of(plot, "", "real images only")))


def test_accuracy_of_real_arms_and_one_shot_count_alone(runs, tmp_path):
    few = [run for run in runs if run.method == "real" and run.shots == 4 and run.seed == 0]
    plot = accuracy_plot(accuracy_table(few), measure="mean_per_class", primary=None)
    assert titles_of(plot) == {"": ["real images only"]}
    write_plot(plot, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_plot_is_written_with_all_its_panels(runs, settings, tmp_path, monkeypatch):
    plot = accuracy_plot(accuracy_table(runs), measure="top1", primary=settings.primary)
    figures: list[Figure] = []
    monkeypatch.setattr(
        "synthbridge.evidence.plots.write_png", lambda figure, _: figures.append(figure)
    )
    write_plot(plot, tmp_path / "plot.png", "A warning")
    [figure] = figures
    assert figure.get_suptitle() == "A warning"
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == [
        ": ".join(filter(None, [group.title, panel.title]))
        for group in plot
        for panel in group.panels
    ]


def test_a_panel_fits_a_phone(runs, settings):
    """A panel's natural width is at most that of a phone, so that its text is not made small."""
    plot = accuracy_plot(accuracy_table(runs), measure="top1", primary=settings.primary)
    figure = draw_panel(plot[1].panels[0])
    assert figure.get_size_inches()[0] == WIDTH and 96 * WIDTH <= 360
    figure.draw_without_rendering()
    for axes in figure.axes:  # names beside the lines included
        assert axes.get_tightbbox().x1 <= figure.bbox.x1 + 1


def marks_of(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata()) == 1]


def test_differences_fill_the_marks_of_sure_ones(runs, settings):
    comparisons = [row for row in compare_runs(runs, settings) if row.reference == "vanilla"]
    plot = differences_plot(comparisons, confidence=0.95)
    panels = ["real images only", "dsi images", "template images"]
    assert titles_of(plot) == dict.fromkeys(SHOTS, panels)
    filled = set()
    for title, shots in zip(SHOTS, (1, 4, "full"), strict=True):
        for name, method in zip(panels, ("real", "dsi", "template"), strict=True):
            axes = axes_of(plot, title, name)
            rows = [row for row in comparisons if (row.shots, row.method) == (shots, method)]
            marks = marks_of(axes)
            shown = [mark.get_xdata()[0] for mark in marks]
            assert shown == [row.interval.difference for row in rows]
            for mark, row in zip(marks, rows, strict=True):
                assert (mark.get_markerfacecolor() != "white") == row.is_sure(0.95)
                assert (mark.get_marker() == "*") == row.is_primary
                filled.add(row.is_sure(0.95))
    assert filled == {True, False}
    labels = axes_of(plot, "4 shots", "dsi images").get_yticklabels()
    assert [each.get_text() for each in labels if each.get_weight() == "bold"] == ["bridged"]


def test_the_primary_arm_stands_against_all_that_it_is_compared_with(runs, settings):
    rows = [row for row in compare_runs(runs, settings) if row.arm == "bridged"]
    plot = primary_arm_plot(rows, arm="bridged", confidence=0.95)
    panels = [axes_of(plot, "", title) for title in SHOTS]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [
        "dsi over vanilla",
        "dsi over vanilla_equal_steps",
        "dsi over mixed · dsi",
        "dsi over bridged · template",
        "template over vanilla",
        "template over vanilla_equal_steps",
        "template over mixed · template",
    ]
    stars = [[mark.get_marker() for mark in marks_of(axes)].count("*") for axes in panels]
    assert stars == [0, 2, 0]  # at 4 shots


def test_differences_of_two_seeds_have_marks_and_no_intervals(runs, settings):
    rows = compare_runs([run for run in runs if run.seed < 2 and run.shots == 4], settings)
    rows = [row for row in rows if row.method == "dsi"]
    [axes] = [axes_of(differences_plot(rows, confidence=0.95), "4 shots", "dsi images")]
    assert len(marks_of(axes)) == len(rows) == len(axes.get_lines()) - 1  # the line at zero


def test_convergence_has_a_panel_a_shot_count_and_set(runs):
    plot = convergence_plot(convergence_table(runs, None))
    assert titles_of(plot) == {key: ["dsi images", "template images"] for key in SHOTS}
    arms = {"vanilla", "vanilla_equal_steps", "bridged"}
    assert set(named(axes_of(plot, "1 shot", "dsi images"))) == arms


def test_convergence_of_real_arms_alone_has_a_panel_a_shot_count(runs):
    real = [run for run in runs if run.method == "real"]
    plot = convergence_plot(convergence_table(real, None))
    assert titles_of(plot) == {key: [""] for key in SHOTS}


def test_style_loss_has_a_panel_a_set(tmp_path):
    simulate_style(tmp_path / "dsi_4")
    simulate_style(tmp_path / "dsi_full", ["all"])
    folders = {name: tmp_path / name for name in ("dsi_4", "dsi_full")}
    plot = style_loss_plot(smooth_losses(read_style_losses(folders, "digits")))
    assert titles_of(plot) == {"": ["dsi_4", "dsi_full"]}
    axes = axes_of(plot, "", "dsi_4")
    assert len(axes.get_lines()) == 6  # two of each of three tokens
    assert named(axes) == ["smoothed", "at fixed noise"]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = pd.DataFrame({"step": range(20_001)})
    shown = thinned(curve)["step"].tolist()
    assert len(shown) == MOST_POINTS and (shown[0], shown[-1]) == (0, 20_000)
    assert thinned(curve.head(50)).equals(curve.head(50))


def test_grid_lays_pictures_out_by_class_and_set():
    values = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3)
    tiles = np.broadcast_to(values[:, :, None, None, None], (2, 3, 32, 32, 3)).copy()
    figure = grid_figure({"real": tiles, "dsi": tiles + 100}, ["cat", "dog"])
    mosaic = figure.axes[0].get_images()[0].get_array()
    # Tiles of 32 with gaps of 2; sets stand 16 apart.
    for row in range(2):
        for column in range(3):
            y, x = row * 34 + 16, column * 34 + 16
            assert mosaic[y, x, 0] == values[row, column]
            assert mosaic[y, x + 3 * 34 + 16, 0] == values[row, column] + 100
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
