import math

import numpy as np
import pytest

from synthbridge.evidence.leep import leep


def slow_leep(probabilities, labels, num_classes):
    """The definition, loop by loop."""
    n, z = probabilities.shape
    joint = [[0.0] * z for _ in range(num_classes)]
    for i in range(n):
        for k in range(z):
            joint[labels[i]][k] += probabilities[i, k] / n
    total = 0.0
    for i in range(n):
        expected = 0.0
        for k in range(z):
            mass = sum(joint[y][k] for y in range(num_classes))
            if mass > 0:
                expected += joint[labels[i]][k] / mass * probabilities[i, k]
        total += math.log(expected)
    return total / n


def draw(seed, n=60, z=7, num_classes=4):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(z), n), rng.integers(num_classes, size=n)


def test_by_hand():
    # P(y, z): y=0 has (0.9 + 0.5) / 3 and (0.1 + 0.5) / 3, y=1 has 0.2 / 3 and 0.8 / 3.
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    given_0 = 1.4 / 1.6, 0.6 / 1.4
    given_1 = 0.2 / 1.6, 0.8 / 1.4
    terms = [
        0.9 * given_0[0] + 0.1 * given_0[1],
        0.5 * given_0[0] + 0.5 * given_0[1],
        0.2 * given_1[0] + 0.8 * given_1[1],
    ]
    expected = sum(math.log(term) for term in terms) / 3
    assert leep(probabilities, np.array([0, 0, 1]), 2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition_and_is_at_most_zero(seed):
    probabilities, labels = draw(seed)
    score = leep(probabilities, labels, 4)
    assert score == pytest.approx(slow_leep(probabilities, labels, 4), abs=1e-12)
    assert score < 0


def test_perfect_head_scores_zero_and_uninformative_one_minus_log_classes():
    labels = np.arange(50) % 5
    assert leep(np.eye(5)[labels], labels, 5) == pytest.approx(0.0)
    assert leep(np.full((50, 8), 1 / 8), labels, 5) == pytest.approx(-math.log(5))


def test_permuting_the_models_own_classes_changes_nothing():
    probabilities, labels = draw(0)
    assert leep(probabilities[:, ::-1], labels, 4) == pytest.approx(leep(probabilities, labels, 4))


def test_own_classes_without_mass_and_float32_are_harmless():
    probabilities, labels = draw(1)
    padded = np.concatenate([probabilities, np.zeros((60, 3))], axis=1).astype(np.float32)
    assert leep(padded, labels, 4) == pytest.approx(leep(probabilities, labels, 4), abs=1e-6)


def test_target_class_without_images_is_harmless():
    probabilities, labels = draw(2)
    assert leep(probabilities, labels, 9) == pytest.approx(leep(probabilities, labels, 4))


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.full((3, 2), np.nan), [0, 1, 0], "NaN"),
        (np.full((3, 2), 0.7), [0, 1, 0], "sum to 1"),
        (np.full((3, 2), 0.5), [0, 1], "shapes"),
        (np.full((3, 2), 0.5), [0, 1, 2], "between 0 and 1"),
        (np.zeros((0, 2)), [], "N above 0"),
    ],
)
def test_refuses_what_is_no_distribution(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        leep(probabilities, np.array(labels, dtype=int), 2)
