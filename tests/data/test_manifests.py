import pytest

from synthbridge.data.manifests import (
    choose_shots,
    few_shot_rankings,
    hold_out,
    hold_out_groups,
    imbalanced_counts,
    rank_by_hash,
    trim_to_imbalance,
)

NAMES = [[f"class{c}/{i}" for i in range(20)] for c in range(3)]


def test_rank_moves_nothing_when_a_name_comes_or_goes():
    ranked = rank_by_hash(NAMES[0], "salt")
    assert sorted(ranked) == sorted(NAMES[0])
    assert ranked != rank_by_hash(NAMES[0], "other")
    assert rank_by_hash(NAMES[0][1:], "salt") == [name for name in ranked if name != "class0/0"]


def test_shots_are_nested_and_depend_on_the_seed():
    rankings = few_shot_rankings(NAMES, seed=0)
    names = ["a", "b", "c"]
    subsets = [choose_shots(rankings, names, shots, 1) for shots in (1, 2, 4, 8, 16)]
    for smaller, larger in zip(subsets, subsets[1:], strict=False):
        assert smaller < larger
    assert [len(subset) for subset in subsets] == [3, 6, 12, 24, 48]
    assert choose_shots(rankings, names, 4, 2) != subsets[2]


def test_shots_above_a_class_are_refused():
    rankings = few_shot_rankings([NAMES[0], NAMES[1][:3]], seed=0)
    with pytest.raises(ValueError, match="shots is 4, but class 'b' has only 3 training images"):
        choose_shots(rankings, ["a", "b"], 4, 0)
    with pytest.raises(ValueError, match="seed 10 has no few-shot ranking; choose one below 10"):
        choose_shots(rankings, ["a", "b"], 1, 10)


def test_hold_out_takes_as_many_of_each_class_and_leaves_some():
    held = hold_out(NAMES, 5, seed=0)
    assert [sum(name in held for name in names) for names in NAMES] == [5, 5, 5]
    with pytest.raises(ValueError, match="validation_per_class is 20, but class 0 has only 20"):
        hold_out(NAMES, 20, seed=0)


def test_whole_groups_are_held_out_until_every_class_is_filled():
    # Six writers, each with three images of each of three classes; five images need two writers.
    groups = [[f"writer {i % 6}" for i in range(18)] for _ in range(3)]
    held = hold_out_groups(groups, 5, 1, "salt")
    assert held is not None and len(held) == 2
    assert hold_out_groups(groups, 5, 12, "salt") == held  # twelve of eighteen are left
    assert hold_out_groups(groups, 5, 13, "salt") is None
    assert hold_out_groups(groups, 5, 1, "other") != held


def test_groups_of_one_image_each_are_held_out_exactly():
    held = hold_out_groups(NAMES, 5, 1, "salt")
    assert [sum(name in held for name in names) for names in NAMES] == [5, 5, 5]


def test_a_corner_that_one_order_runs_into_is_left_by_another():
    """Once c is taken, d would leave too few of the second class; d and e fill both."""
    groups = [["c"] + ["d"] * 2 + ["rest"] * 7, ["c"] * 3 + ["d"] + ["e"] + ["rest"] * 5]
    for salt in "0123456789":
        assert hold_out_groups(groups, 2, 7, salt) == {"d", "e"}


def test_imbalance_follows_the_exponential_profile():
    # 100 * 100 ** (-i / 4): 100, 31.6, 10, 3.16, 1
    assert imbalanced_counts([100] * 5, 100.0) == [100, 32, 10, 3, 1]
    assert imbalanced_counts([7, 9], 1.0) == [7, 7]


def test_imbalance_holds_whatever_the_classes_had():
    """The second class cannot fill its place below 100, so n_max = 20 * 10 ** 0.5."""
    counts = imbalanced_counts([100, 20, 50], 10.0)
    assert counts == [63, 20, 6]


def test_an_imbalance_that_empties_a_class_is_refused():
    with pytest.raises(ValueError, match="leaves the last class none of its 10 training images"):
        imbalanced_counts([10] * 3, 40.0)


def test_trimming_keeps_order_and_a_part_of_what_less_keeps():
    some, few = (trim_to_imbalance(NAMES, ratio, seed=3) for ratio in (4.0, 10.0))
    assert [len(names) for names in few] == [20, 6, 2]
    for kept, fewer, names in zip(some, few, NAMES, strict=True):
        assert set(fewer) <= set(kept)
        assert kept == [name for name in names if name in kept]
    assert few != trim_to_imbalance(NAMES, 10.0, seed=4)
