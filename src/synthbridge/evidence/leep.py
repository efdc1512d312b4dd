"""LEEP: how well a trained model's outputs predict the target labels, without any training.

Nguyen et al., 2020 (arXiv:2002.12462). theta(x)_z are the model's soft outputs
for its own classes z, y the target labels:

    P(y, z) = mean over all i, counting those with y_i = y, of theta(x_i)_z
    LEEP    = mean over i of log sum_z P(y_i | z) theta(x_i)_z

A model whose outputs say nothing of the labels scores minus the entropy of the labels,
-ln(classes) when they are balanced; a perfect one scores 0.
"""

import numpy as np


def leep(probabilities: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Return the LEEP score, at most 0; higher means the model transfers better.

    Args:
        probabilities: (N, Z) soft outputs of the model, each row summing to 1.
        labels: (N,) target classes, integers from 0 to num_classes - 1.
        num_classes: the number of target classes.

    Raises:
        ValueError: if the shapes disagree, a label is out of range, or a row is no distribution.
    """
    theta = np.asarray(probabilities, dtype=np.float64)  # (N, Z)
    labels = np.asarray(labels)  # (N,)
    _check(theta, labels, num_classes)
    theta = theta / theta.sum(axis=1, keepdims=True)  # float32 sums are 1 to 1e-7 only
    joint = np.zeros((num_classes, theta.shape[1]))  # P(y, z)
    np.add.at(joint, labels, theta / len(theta))
    mass = joint.sum(axis=0)  # P(z)
    # A class z without mass is 0 in every row of theta too, so its term is 0 whatever
    # P(y | z) we write there.
    conditional = joint / np.where(mass > 0, mass, 1.0)  # P(y | z)
    expected = np.einsum("nz,nz->n", conditional[labels], theta)
    # Each image adds to the conditional of its own class, so this sum is above 0; with tiny
    # outputs it may still underflow.
    return float(np.log(np.clip(expected, np.finfo(np.float64).tiny, 1.0)).mean())


def _check(theta: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if theta.ndim != 2 or labels.shape != theta.shape[:1] or not len(labels):
        raise ValueError(
            f"LEEP needs probabilities (N, Z) and labels (N,) with N above 0, but got shapes "
            f"{theta.shape} and {labels.shape}; pass one row of outputs for each label"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but must lie between 0 and "
            f"{num_classes - 1}; pass the data set's own number of classes"
        )
    if not (theta >= 0).all() or not np.allclose(theta.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError(
            "LEEP needs rows of probabilities that sum to 1, but a row holds NaN, a negative "
            "number or another sum; pass softmax outputs"
        )
