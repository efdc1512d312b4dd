import numpy as np
import pytest

from synthbridge.data.keeping import keep_best, part_words


def test_the_best_share_of_each_group_is_kept():
    scores = np.array([0.1, 0.9, 0.5, 0.3, 0.2, 0.4])
    groups = ["x", "x", "x", "y", "y", "y"]
    assert keep_best(scores, groups, 0.3).tolist() == [False, True, False, False, False, True]
    assert keep_best(scores, groups, 0.5).tolist() == [False, True, True, True, False, True]
    assert keep_best(scores, groups, 1.0).all()


def test_a_share_of_ten_is_exact_and_of_equals_the_earlier_is_kept():
    for share, number in ((0.1, 1), (0.3, 3), (0.7, 7), (0.31, 4), (0.01, 1)):
        kept = keep_best(np.ones(10), [0] * 10, share)
        assert kept.sum() == number and kept[:number].all()


def test_a_cap_bounds_what_a_share_keeps_of_each_group():
    scores, groups = np.arange(20.0), [0] * 10 + [1] * 10
    kept = keep_best(scores, groups, 0.7, 2)
    assert np.flatnonzero(kept).tolist() == [8, 9, 18, 19]
    assert keep_best(scores, groups, 0.1, 2).sum() == 2  # the share is less


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"cap": 180}, ""),
        ({"cap": 60, "select": "entropy"}, "60 of 180 drawn a class, of highest entropy"),
        ({"keep_fraction": 0.5}, "90 of 180 drawn a class, most like their class"),
        ({"keep_fraction": 0.3, "search": "caption"}, ""),
    ],
)
def test_the_part_that_trains_is_told_from_the_settings(changes, words):
    assert part_words({"images_per_class": 180, **changes}) == words
