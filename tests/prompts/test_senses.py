import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from synthbridge.prompts.senses import ambiguous, choose_sense


def _unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_scores_are_mean_cosines_with_the_ensembled_text():
    rng = np.random.default_rng(0)
    images = _unit(rng, 9, 5)
    senses = {name: _unit(rng, 4, 5) for name in ("crane bird", "construction crane", "feet")}
    choice = choose_sense(images, senses)
    for name, prompts in senses.items():
        reference = cosine_similarity(images, prompts.mean(axis=0, keepdims=True)).mean()
        assert choice.scores[name] == pytest.approx(reference, abs=1e-4)
    assert choice.chosen == max(choice.scores, key=choice.scores.__getitem__)


def test_of_two_alike_the_first_is_chosen():
    vectors = np.eye(3, dtype=np.float32)
    assert choose_sense(vectors[:1], {"b": vectors[:1], "a": vectors[:1]}).chosen == "b"


def test_ambiguous_classes_are_those_with_senses():
    assert ambiguous({"crane": ["x", "y"], "bat": ["x", "y"]}, ["dog", "crane", "cat"]) == [1]
