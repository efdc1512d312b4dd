import numpy as np
import pytest

from synthbridge.evidence.ranks import rank_correlation


def test_ranks_are_correlated_whatever_the_scale():
    found = rank_correlation([1, 2, 3, 4, 5, 6], [1, 4, 9, 16, 36, 25], 0.95)
    assert found is not None and found[0] == pytest.approx(1 - 6 * 2 / 210)
    assert found[1] < found[0] < found[2] < 1


def test_where_nothing_varies_there_is_none():
    assert rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], 0.95) is None
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4], 0.95) is None


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Of normal pairs with Pearson's r, Spearman's is 6 / pi asin(r / 2)."""
    rng, r, hits = np.random.default_rng(0), 0.6, 0
    for _ in range(1000):
        left = rng.normal(size=15)
        right = r * left + (1 - r**2) ** 0.5 * rng.normal(size=15)
        found = rank_correlation(left.tolist(), right.tolist(), 0.95)
        assert found is not None
        hits += found[1] <= 6 / np.pi * np.arcsin(r / 2) <= found[2]
    assert 0.93 < hits / 1000 < 0.97
