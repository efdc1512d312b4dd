import math

import pytest
from scipy import stats

from synthbridge.studies.differences import fit_logarithm, interval_over_seeds


def test_the_interval_is_students_of_paired_differences():
    ours, theirs = [71.0, 64.0, 69.5, 80.0], [60.0, 61.0, 62.0, 63.0]
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert interval_over_seeds(differences) == pytest.approx((expected.low, expected.high))


def test_one_difference_has_no_interval():
    assert interval_over_seeds([3.0]) is None


def test_the_fit_finds_the_papers_line():
    """Gap, figure 3: f(x) = -2.23 log(x) + 85.61, x times fewer than 1,300 images a class."""
    points = {str(1300 // x): 85.61 - 2.23 * math.log(1300 / (1300 // x)) for x in (13, 26, 65)}
    fit = fit_logarithm({**points, "full": 85.61}, 1300)
    assert fit and str(fit) == "85.61 -2.23 ln(reduction)"
    assert fit.at("full") == pytest.approx(85.61)
    assert fit.at("100") == pytest.approx(85.61 - 2.23 * math.log(13))
    assert fit_logarithm({"full": 1.0}, 1300) is None
