import numpy as np
import pytest
from scipy.stats import entropy

from synthbridge.training.uncertainty import entropies


def test_entropies_are_scipys():
    logits = np.random.default_rng(0).normal(0, 3, (20, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert entropies(probabilities.astype(np.float32)) == pytest.approx(
        entropy(probabilities, axis=1), rel=1e-5
    )


def test_a_sure_prediction_has_none_and_an_even_one_the_most():
    found = entropies(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32))
    assert found.tolist() == pytest.approx([0, np.log(4), np.log(2)])
