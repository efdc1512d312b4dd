import math

import pytest
from evidence.made_runs import make_run

from synthbridge.evidence.classes import (
    class_changes,
    classes_table,
    flips,
    losers,
    winners,
)

LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2]
WITHOUT = [0, 0, 1, 1, 0, 0, 2, 2, 2]
WITH = [0, 0, 0, 1, 1, 1, 2, 0, 0]


@pytest.fixture
def pairs():
    """Three seeds: class 0 gains a third, class 1 two thirds, class 2 loses two thirds."""
    return [
        (make_run("bridged", seed, WITH, LABELS), make_run("vanilla", seed, WITHOUT, LABELS))
        for seed in range(3)
    ]


def test_each_class_has_its_accuracies_and_interval(pairs):
    changes = class_changes(pairs, 0.95)
    assert [round(change.difference, 1) for change in changes] == [33.3, 66.7, -66.7]
    assert [round(change.arm_accuracy) for change in changes] == [100, 100, 33]
    assert all(change.num_test == 3 for change in changes)
    for change in changes:
        assert change.low < change.difference < change.high
        assert change.p_holm >= change.p_value


def test_two_seeds_or_one_group_of_images_have_no_interval(pairs):
    assert all(math.isnan(change.low) for change in class_changes(pairs[:2], 0.95))
    grouped = [
        tuple(make_run(r.arm, r.seed, r.answers, LABELS, groups=LABELS) for r in pair)
        for pair in pairs
    ]
    for change in class_changes(grouped, 0.95):
        assert math.isnan(change.low) and math.isnan(change.p_holm)


def test_no_pair_has_no_class():
    assert class_changes([], 0.95) == []
    assert not len(classes_table([], [], []))


def test_the_largest_changes_come_first(pairs):
    changes = class_changes(pairs, 0.95)
    assert [change.label for change in winners(changes, 5)] == [1, 0]
    assert [change.label for change in winners(changes, 1)] == [1]
    assert [change.label for change in losers(changes, 5)] == [2]


def test_the_table_names_classes_and_what_is_compared(pairs):
    table = classes_table(pairs, class_changes(pairs, 0.95), ["cat", "dog", "cow"])
    assert table["class"].tolist() == ["cat", "dog", "cow"]
    assert set(table["arm"]) == {"bridged"} and set(table["reference"]) == {"vanilla"}


def test_images_flip_to_right_where_a_class_gained_and_to_wrong_where_it_lost(pairs):
    zero, one, two = class_changes(pairs, 0.95)
    [flip] = flips(pairs, zero, 4)
    assert (flip.index, flip.before, flip.after) == (2, 1, 0)
    assert (flip.num_before, flip.num_after) == (3, 3)
    assert [flip.index for flip in flips(pairs, one, 4)] == [4, 5]
    assert [flip.index for flip in flips(pairs, one, 1)] == [4]
    assert [(flip.index, flip.before, flip.after) for flip in flips(pairs, two, 4)] == [
        (7, 2, 0),
        (8, 2, 0),
    ]


def test_an_image_whose_answer_changed_in_few_seeds_is_not_shown(pairs):
    calm = [
        (make_run("bridged", seed, WITH if seed == 0 else WITHOUT, LABELS), reference)
        for seed, (_, reference) in enumerate(pairs)
    ]
    changes = class_changes(calm, 0.95)
    assert winners(changes, 5)
    assert all(flips(calm, change, 4) == [] for change in changes)


def test_a_right_answer_that_is_most_frequent_is_no_wrong_one():
    """Of five models two are right and three err each in its own way."""
    labels = [0, 1, 2, 3]
    without = [[0, 1, 2, 3], [0, 1, 2, 3], [1, 1, 2, 3], [2, 1, 2, 3], [3, 1, 2, 3]]
    pairs = [
        (make_run("bridged", seed, labels, labels), make_run("vanilla", seed, answers, labels))
        for seed, answers in enumerate(without)
    ]
    changes = class_changes(pairs, 0.95)
    assert changes[0].difference > 0 and flips(pairs, changes[0], 4) == []
