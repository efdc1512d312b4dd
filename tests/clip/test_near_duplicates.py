import numpy as np
import pytest

from synthbridge.clip.near_duplicates import ROWS, Pair, near_duplicates


def test_pairs_by_hand_best_first():
    queries = np.array([[1.0, 0.0], [0.6, 0.8]])
    references = np.array([[0.0, 1.0], [0.8, 0.6], [1.0, 0.0]])
    found = near_duplicates(queries, references, 0.79)
    assert [(pair.query, pair.reference) for pair in found] == [(0, 2), (1, 1), (0, 1), (1, 0)]
    assert [pair.similarity for pair in found] == pytest.approx([1.0, 0.96, 0.8, 0.8])
    assert near_duplicates(queries, references, 0.99) == [Pair(0, 2, 1.0)]


def test_many_queries_are_compared_in_parts():
    queries = np.tile([[0.0, 1.0]], (ROWS + 1, 1))
    queries[-1] = 1.0, 0.0
    assert near_duplicates(queries, np.array([[1.0, 0.0]]), 0.9) == [Pair(ROWS, 0, 1.0)]
