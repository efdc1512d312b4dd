import numpy as np
import pytest

from synthbridge.clip.retrieval import Hit, Search, choose_images
from synthbridge.clip.settings import RetrievedSettings

ACROSS, UP = np.eye(2, dtype=np.float32)  # the texts of two classes
NO_TEST = np.empty((0, 2), np.float32)


def _at(*degrees):
    """Return unit vectors so many degrees from the first class towards the second."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _choose(found, rows, vectors, test=NO_TEST, *, fraction=1.0, cap=99, above=0.999, texts=None):
    settings = RetrievedSettings(
        search="caption",
        candidates=None,
        keep_fraction=fraction,
        cap=cap,
        duplicates_above=above,
        images_per_class=1,
    )
    search = Search(found, rows, vectors, texts or [ACROSS[None], UP[None]])
    return choose_images(search, test, settings)


def _cos(degrees):
    return round(float(np.cos(np.deg2rad(degrees))), 6)


def test_the_best_stand_first_and_each_image_goes_to_the_class_that_it_matches_best():
    found = [{2: "a", 5: "b", 9: "a"}, {5: "c", 9: "c"}]
    (first, second), _ = _choose(found, [2, 5, 9], _at(30, 50, 10))
    assert first.kept == [
        Hit(9, pytest.approx(_cos(10), abs=2e-6), "a"),
        Hit(2, pytest.approx(_cos(30), abs=2e-6), "a"),
    ]
    assert second.kept == [Hit(5, pytest.approx(_cos(40), abs=2e-6), "c")]
    assert (first.num_found, first.num_elsewhere) == (3, 1)
    assert (second.num_found, second.num_elsewhere) == (2, 1)


def test_similarity_is_the_cosine_with_the_mean_of_the_texts():
    texts = [_at(0, 60, 90), UP[None]]
    (first, _), _ = _choose([{0: "a"}, {}], [0], _at(20), texts=texts)
    mean = texts[0].mean(axis=0)
    expected = _at(20)[0] @ mean / np.linalg.norm(mean)
    assert first.kept[0].similarity == pytest.approx(expected, abs=2e-6)


def test_a_class_with_different_words_keeps_the_images_that_it_matches_best():
    texts = [_at(-60, 60), UP[None]]  # the mean of the first points across, half as long
    (first, second), _ = _choose([{0: "a"}, {0: "b"}], [0], _at(40), texts=texts)
    assert [hit.row for hit in first.kept] == [0] and second.kept == []
    assert first.kept[0].similarity == pytest.approx(_cos(40), abs=2e-6)


@pytest.mark.parametrize(
    ("fraction", "cap", "kept"),
    [(0.3, 99, 3), (0.31, 99, 4), (0.7, 99, 7), (1.0, 99, 10), (1.0, 4, 4), (0.01, 99, 1)],
)
def test_the_best_fraction_is_kept_up_to_the_cap(fraction, cap, kept):
    found, vectors = [dict.fromkeys(range(10), "a"), {}], _at(*range(10, 20))
    (first, second), _ = _choose(found, list(range(10)), vectors, fraction=fraction, cap=cap)
    assert [hit.row for hit in first.kept] == list(range(kept))
    assert second.kept == [] and second.num_found == 0


def test_equals_stand_in_the_order_of_the_pool():
    (first, _), _ = _choose([{7: "a", 3: "a"}, {}], [3, 7], _at(5, 5))
    assert [hit.row for hit in first.kept] == [3, 7]


def test_near_duplicates_of_test_go_before_the_cut():
    found, vectors, test = [dict.fromkeys(range(4), "a"), {}], _at(10, 20, 30, 40), _at(10.5, 80)
    (first, _), pairs = _choose(found, list(range(4)), vectors, test, fraction=0.5)
    assert [hit.row for hit in first.kept] == [1, 2]  # half of the three that are left, upwards
    assert first.num_duplicates == 1
    assert [(pair.query, pair.reference) for pair in pairs] == [(0, 0)]
    assert pairs[0].similarity == pytest.approx(_cos(0.5), abs=1e-6)


def test_what_cannot_be_read_is_left_out_and_counted():
    vectors = _at(10, 20)
    vectors[0] = 0
    (first, _), _ = _choose([{0: "a", 1: "a"}, {}], [0, 1], vectors)
    assert [hit.row for hit in first.kept] == [1] and first.num_unreadable == 1
