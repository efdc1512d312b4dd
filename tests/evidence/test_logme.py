import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from synthbridge.evidence.logme import logme


def slow_logme(features, labels):
    """Maximise the evidence of each class over alpha and beta, from its definition."""
    num = len(features)
    found = []
    for label in np.unique(labels):
        y = (labels == label).astype(float)

        def loss(logs, y=y):
            alpha, beta = np.exp(logs)
            covariance = np.eye(num) / beta + features @ features.T / alpha
            return -multivariate_normal.logpdf(y, np.zeros(num), covariance) / num

        options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
        starts = ([0, 0], [3, 1], [6, 3])
        tries = [minimize(loss, x, method="Nelder-Mead", options=options).fun for x in starts]
        found.append(-min(tries))
    return np.mean(found)


def draw(seed, n, d, num_classes):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)) + 0.2
    noise = rng.normal(size=(n, num_classes))
    return features, (features[:, :num_classes] + noise).argmax(1)


@pytest.mark.parametrize(("n", "d", "num_classes"), [(40, 6, 3), (60, 3, 2), (25, 30, 2)])
def test_agrees_with_the_largest_evidence(n, d, num_classes):
    features, labels = draw(0, n, d, num_classes)
    assert logme(features, labels, num_classes) == pytest.approx(
        slow_logme(features, labels), abs=2e-5
    )


def test_features_that_tell_the_classes_score_higher():
    features, labels = draw(1, 300, 8, 4)
    onehot = np.eye(4)[labels]
    better = logme(np.concatenate([features, onehot + 0.1 * features[:, :4]], axis=1), labels, 4)
    worse = logme(np.random.default_rng(2).normal(size=(300, 8)), labels, 4)
    assert better > logme(features, labels, 4) > worse


def test_turning_and_scaling_the_features_changes_nothing():
    features, labels = draw(3, 80, 5, 3)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(5, 5)))[0]
    expected = pytest.approx(logme(features, labels, 3), abs=1e-5)
    assert logme(7 * features @ turn, labels, 3) == expected


def test_features_that_fit_exactly_and_features_of_nought_have_a_finite_score():
    labels = np.arange(20) % 2
    exact = logme(np.eye(2)[labels], labels, 2)
    assert np.isfinite(exact) and exact > 1
    assert np.isfinite(logme(np.eye(20), labels, 2))
    assert np.isfinite(logme(np.zeros((20, 3)), labels, 2))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), [0, 1], "shapes"),
        (np.ones((3, 2)), [0, 1, 2], "between 0 and 1"),
        (np.full((3, 2), np.nan), [0, 1, 0], "finite"),
        (np.ones((0, 2)), [], "N above 0"),
    ],
)
def test_refuses_what_it_cannot_score(features, labels, message):
    with pytest.raises(ValueError, match=message):
        logme(features, np.array(labels, dtype=int), 2)
