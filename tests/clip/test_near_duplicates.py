import tracemalloc

import numpy as np
import pytest

from synthbridge.clip.near_duplicates import Pair, near_duplicates, nearest_references


def _unit(rng, count):
    vectors = rng.standard_normal((count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [3, 70])  # below and above what faiss hands to BLAS
def test_pairs_are_those_of_the_whole_matrix_of_cosines(count):
    rng = np.random.default_rng(0)
    queries, references = _unit(rng, count), _unit(rng, 50)
    cosines = queries @ references.T
    pairs = near_duplicates(queries, references, 0.6)
    assert {(pair.query, pair.reference) for pair in pairs} == {
        (q, r) for q, r in zip(*np.nonzero(cosines > 0.6), strict=True)
    }
    for pair in pairs:
        assert pair.similarity == pytest.approx(cosines[pair.query, pair.reference], abs=1e-6)
    assert [pair.similarity for pair in pairs] == sorted(
        (pair.similarity for pair in pairs), reverse=True
    )


def test_the_same_image_is_found_and_equals_come_in_order():
    rng = np.random.default_rng(1)
    references = _unit(rng, 5)
    queries = np.concatenate([_unit(rng, 1) * 0, references[[3, 3]]])
    pairs = near_duplicates(queries, references, 0.99)
    assert [(pair.query, pair.reference) for pair in pairs] == [(1, 3), (2, 3)]
    assert pairs[0].similarity == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [((0, 8), (3, 8)), ((3, 8), (0, 8))])
def test_nothing_resembles_nothing(shape):
    queries, references = (np.ones(size, np.float32) for size in shape)
    assert near_duplicates(queries, references, 0.5) == []


def test_a_pair_reads_as_row_row_cosine():
    one = np.ones((1, 1), np.float32)
    assert near_duplicates(one, one, 0.5) == [Pair(query=0, reference=0, similarity=1.0)]


def test_a_threshold_of_one_finds_none():
    vectors = _unit(np.random.default_rng(2), 40)
    assert near_duplicates(vectors, vectors, 1.0) == []
    assert len(near_duplicates(vectors, vectors, 0.9999)) == 40


@pytest.mark.parametrize("count", [3, 70])
def test_the_nearest_is_that_of_the_whole_matrix_and_the_lower_of_equals(count):
    rng = np.random.default_rng(3)
    queries, references = _unit(rng, count), _unit(rng, 50)
    references = np.concatenate([references, references])
    expected = (queries @ references[:50].T).argmax(axis=1)
    np.testing.assert_array_equal(nearest_references(queries, references), expected)


def test_the_nearest_are_found_without_the_whole_matrix():
    vectors = _unit(np.random.default_rng(4), 2000)
    tracemalloc.start()
    nearest = nearest_references(vectors, vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(nearest, np.arange(2000))
    assert peak < 2000 * 2000  # a quarter of the matrix's bytes
