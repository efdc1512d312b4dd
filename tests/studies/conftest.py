import pytest

from synthbridge.evidence.results import TestedModel


@pytest.fixture
def make_run():
    """Make a run of an arm and a seed with its answers."""

    def make(arm, seed, labels, correct):
        return TestedModel(
            dataset="digits",
            method="real",
            set=None,
            arm=arm,
            shots=1,
            seed=seed,
            learning_rate=0.1,
            selection={},
            selected_on="validation",
            num_train=10,
            gradient_steps=1,
            top1=0.0,
            mean_per_class=0.0,
            train_accuracy=(),
            correct=correct,
            labels=labels,
        )

    return make
