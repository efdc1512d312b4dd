import interval_coverage as coverage
import measure
import numpy as np
import pytest

from house import ROOT

GROUPED = coverage.Setting(4, 140, 2.0, "exponential", 7, 2.5, True)


def test_a_tiny_setting():
    plain = coverage.measure_setting(coverage.Setting(3, 60, 2.0), 40)
    assert set(plain["coverage"]) == {*coverage.INTERVALS, "bootstrap"} - {"ungrouped"}
    assert all(0 <= value <= 100 for value in plain["coverage"].values())
    assert plain["coverage"]["ours"] >= 85 and plain["width"] > 0
    assert plain == coverage.measure_setting(coverage.Setting(3, 60, 2.0), 40)
    grouped = coverage.measure_setting(GROUPED, 5)
    assert set(grouped["coverage"]) == {*coverage.INTERVALS, "bootstrap"}
    assert (
        "bootstrap" not in coverage.measure_setting(coverage.Setting(3, 1001, 2.0), 2)["coverage"]
    )


def test_the_truth_is_the_mean_of_all_draws():
    rng, groups = np.random.default_rng(0), coverage.draw_groups(GROUPED)
    assert groups is not None and np.bincount(groups).tolist() == [5, 10, 15, 20, 25, 30, 35]
    means = [100 * coverage.draw_differences(rng, GROUPED, groups).mean() for _ in range(4000)]
    error = np.std(means) / 4000**0.5
    assert np.mean(means) == pytest.approx(coverage.GAIN, abs=4 * error)


def test_the_subtracted_interval_is_narrower():
    differences = coverage.draw_differences(np.random.default_rng(1), GROUPED, None)
    (low, high), (own_low, own_high) = (
        coverage.INTERVALS[name](differences, None) for name in ("subtracted", "ours")
    )
    assert own_low < low < high < own_high


def test_the_documents_have_the_table_that_was_measured():
    rows = measure.read_ratios("interval_coverage")
    assert [rows[str(number)]["what"] for number in range(len(rows))] == [
        setting.words for setting in coverage.SETTINGS
    ]
    assert coverage.table(rows) in (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
