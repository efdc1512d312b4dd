"""Runs with given answers, for what needs no file."""

from collections.abc import Sequence

import numpy as np

from synthbridge.evidence import results  # pytest would take an imported TestedModel for a test


def make_run(
    arm: str,
    seed: int,
    answers: Sequence[int],
    labels: Sequence[int],
    *,
    shots: int | str = 4,
    name: str | None = None,
    num_train: int = 40,
    groups: Sequence[int] | None = None,
):
    """Make a run; `name` is its set, None for real images alone."""
    given, truth = np.array(answers), np.array(labels)
    correct = given == truth
    method = "real" if name is None else name.removesuffix(f"_{shots}")
    return results.TestedModel(
        dataset="digits",
        method=method,
        set=name,
        arm=arm,
        shots=shots,
        seed=seed,
        learning_rate=0.1,
        selection={},
        selected_on="validation",
        num_train=num_train,
        gradient_steps=50,
        top1=100 * float(correct.mean()),
        mean_per_class=100 * float(correct.mean()),
        train_accuracy=(),
        correct=correct,
        labels=truth,
        groups=None if groups is None else np.array(groups),
        answers=given,
    )


def runs_at(
    accuracy: float,
    *,
    arm: str = "vanilla",
    num_seeds: int = 4,
    num_test: int = 200,
    jitter: int = 2,
    **about,
):
    """Make runs of an arm that read about `accuracy` of the images, a little more or less a seed.

    Of two arms the better one reads all that the other reads, but for the seeds' differences.
    """
    labels = np.arange(num_test) % 2
    runs = []
    for seed in range(num_seeds):
        num_right = round(accuracy * num_test) + jitter * (seed % 2)
        answers = np.where(np.arange(num_test) < num_right, labels, 1 - labels)
        runs.append(make_run(arm, seed, answers.tolist(), labels.tolist(), **about))
    return runs
