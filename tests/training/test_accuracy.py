import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from synthbridge.training.accuracy import mean_per_class, top1


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 300)
    labels = rng.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])
    predicted = probabilities.argmax(1)
    assert np.isclose(top1(probabilities, labels), accuracy_score(labels, predicted))
    assert np.isclose(
        mean_per_class(probabilities, labels), balanced_accuracy_score(labels, predicted)
    )
    assert top1(probabilities, labels) != mean_per_class(probabilities, labels)
