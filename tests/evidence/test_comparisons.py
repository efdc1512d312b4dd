import math

import numpy as np
import pytest
from evidence.simulated import GAINS, REAL_GAINS, simulate_clip, simulate_runs

from synthbridge.evidence.comparisons import (
    DASH,
    compare_runs,
    images_words,
    interval_words,
    p_words,
    shots_words,
)
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.statistics import Interval, holm


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder)
    return read_runs([folder], "digits")


def pairs_of(rows):
    return [(row.method, row.arm, row.reference, row.reference_method, row.shots) for row in rows]


def test_pairs_every_arm_with_all_that_a_reader_sets_beside_it(runs, settings):
    own = {("real", arm, "vanilla", "real") for arm in REAL_GAINS if arm != "vanilla"}
    for method in ("dsi", "template"):
        own |= {(method, arm, "vanilla", "real") for arm in GAINS}
        equally_long = set(GAINS) - {"synthetic_only"}
        own |= {(method, arm, "vanilla_equal_steps", "real") for arm in equally_long}
        own.add((method, "bridged", "mixed", method))
    own |= {("dsi", arm, arm, "template") for arm in GAINS}
    expected = [(*pair, shots) for pair in own for shots in (1, 4, "full")]
    found = pairs_of(compare_runs(runs, settings))
    assert len(found) == len(expected) and set(found) == set(expected)


def test_drawn_images_are_compared_with_retrieved_ones_and_not_the_other_way(settings, tmp_path):
    methods = ["dsi", "template", "pool"]
    simulate_runs(tmp_path, shots=[4], methods=methods, num_test=80)
    runs = read_runs([tmp_path], "digits")
    rows = compare_runs(runs, settings, ["pool"])
    found = {(row.method, row.reference_method) for row in rows if row.arm == row.reference}
    assert found == {("dsi", "template"), ("dsi", "pool"), ("template", "pool")}


def test_the_two_primary_comparisons_are_marked(runs, settings):
    rows = compare_runs(runs, settings)
    assert pairs_of(row for row in rows if row.is_primary) == [
        ("dsi", "bridged", "vanilla", "real", 4),
        ("dsi", "bridged", "vanilla_equal_steps", "real", 4),
    ]


def test_all_others_have_a_p_value_for_their_number(runs, settings):
    rows = compare_runs(runs, settings)
    exploring = [row for row in rows if not row.is_primary]
    assert [row.p_holm for row in exploring] == holm([row.interval.p_value for row in exploring])
    assert all(math.isnan(row.p_holm) for row in rows if row.is_primary)
    assert any(row.p_holm > 3 * row.interval.p_value for row in exploring)


def test_a_difference_is_sure_by_rule(runs, settings):
    rows = compare_runs(runs, settings)
    for row in rows:
        p_value = row.interval.p_value if row.is_primary else row.p_holm
        assert row.is_sure(0.95) == (p_value < 1 - 0.95)
    assert {row.is_sure(0.95) for row in rows} == {True, False}
    assert any(row.interval.low > 0 and not row.is_sure(0.95) for row in rows)


def test_groups_of_test_images_widen_the_interval(settings, tmp_path):
    """They are of chance here, so the few degrees of freedom do it."""
    simulate_runs(tmp_path / "images", shots=[4], methods=["dsi"])
    simulate_runs(tmp_path / "groups", shots=[4], methods=["dsi"], num_groups=7)
    plain, grouped = (
        compare_runs(read_runs([tmp_path / name], "digits"), settings)
        for name in ("images", "groups")
    )
    assert [row.interval.num_groups for row in plain] == [None] * len(plain)
    assert {row.interval.num_groups for row in grouped} == {7}
    for row, other in zip(plain, grouped, strict=True):
        assert row.interval.difference == other.interval.difference
    assert any(
        row.interval.high != other.interval.high for row, other in zip(plain, grouped, strict=True)
    )


def test_arms_on_clip_are_compared_with_clip_alone_and_change_no_other(runs, settings, tmp_path):
    simulate_clip(tmp_path, runs[0].labels, shots=(1, "full"), seeds=(0, 1))
    both = [*runs, *read_runs([tmp_path], "digits")]
    comparisons = compare_runs(both, settings)
    on_clip = [row for row in comparisons if row.arm.startswith("clip_")]
    assert {(row.arm, row.reference) for row in on_clip} == {("clip_mixed", "clip_vanilla")}
    others = [row for row in comparisons if row not in on_clip]
    without = compare_runs(runs, settings)
    assert [row.interval for row in others] == [row.interval for row in without]


def test_a_difference_is_that_of_the_means(runs, settings):
    for row in compare_runs(runs, settings):
        means = [
            np.mean([run.top1 for run in runs if (run.method, run.arm, run.shots) == cell])
            for cell in (
                (row.method, row.arm, row.shots),
                (row.reference_method, row.reference, row.shots),
            )
        ]
        assert row.interval.difference == pytest.approx(means[0] - means[1])
        assert row.arm_accuracy == pytest.approx(means[0])
        assert row.reference_accuracy == pytest.approx(means[1])
        assert row.interval.low <= row.interval.difference <= row.interval.high


def test_the_measure_may_be_mean_per_class(runs, settings):
    other = settings.model_copy(update={"measure": "mean_per_class"})
    row = compare_runs(runs, other)[0]
    assert row.interval.difference == pytest.approx(row.arm_accuracy - row.reference_accuracy)


def test_only_common_seeds_are_paired(runs, settings):
    kept = [run for run in runs if run.arm != "vanilla" or run.seed != 2]
    comparisons = compare_runs(kept, settings)
    seeds = {row.reference: row.interval.num_seeds for row in comparisons if row.arm == "bridged"}
    assert seeds["vanilla"] == 2 and seeds["vanilla_equal_steps"] == 3


def test_words():
    assert [shots_words(shots) for shots in (1, 4, "full")] == ["1 shot", "4 shots", "full data"]
    words = interval_words(Interval(-0.04, -1.26, 12.3, 0.2, 3, 900, None))
    assert words == "+0.0 [\N{MINUS SIGN}1.3,\N{NO-BREAK SPACE}+12.3]"


def test_a_difference_without_an_interval_says_so():
    unknown = Interval(5.0, math.nan, math.nan, math.nan, 2, 900, None)
    assert interval_words(unknown) == "+5.0 (no interval)"
    assert [p_words(value) for value in (math.nan, 0.0004, 0.0312)] == [DASH, "< 0.001", "0.031"]


def test_retrieved_images_are_called_so():
    assert images_words("dsi", ["retrieved"]) == "dsi images"
    assert images_words("retrieved", ["retrieved"]) == "retrieved images"
    assert images_words("pool", {"pool": ""}) == "retrieved images (pool)"
