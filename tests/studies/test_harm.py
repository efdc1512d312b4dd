"""The images that harm, in a small set whose labels are partly wrong."""

from pathlib import Path

import pytest
import torch

from synthbridge.data.shards import Sample
from synthbridge.studies.harm import FRACTION, Judges, find_harm

NUM, WRONG = 80, 8


def draw(count, seed):
    labels = torch.arange(count) % 2
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return noise + 2.0 * labels[:, None], labels


@pytest.fixture(scope="module")
def harm():
    """Two overlapping clouds; the first images have the other's label."""
    samples = [Sample(Path("s0-0.tar"), 0, 0, str(number), 0, {}) for number in range(NUM)]

    def extract(chosen):
        features, labels = draw(NUM, seed=0)
        labels[:WRONG] = 1 - labels[:WRONG]
        index = torch.tensor([int(sample.key) for sample in chosen])
        return features[index], labels[index]

    return find_harm(samples, extract, Judges(draw(60, seed=1), draw(200, seed=2)), 2)


def test_images_of_a_wrong_label_harm_most(harm):
    assert FRACTION * NUM == WRONG
    assert len(set(harm.order()[:WRONG].tolist()) & set(range(WRONG))) >= 6
    assert harm.influence[harm.order()[0]] < 0 < harm.influence[harm.order()[-1]]


def test_the_estimate_agrees_with_training_again(harm):
    assert harm.agreement > 0.95


def test_leaving_out_the_harmful_beats_chance_and_leaving_out_the_helpful_does_not(harm):
    test = {name: accuracies[1] for name, accuracies in harm.accuracies.items()}
    assert test["without the most harmful"] >= test["without as many at random"]
    assert test["without the most helpful"] <= test["without the most harmful"]
    assert test["all"] > 50
