"""The images of a set that harm most, and what a head learns without them.

A linear head on the backbone's frozen features learns from the images of a set alone. Each image's
influence is by how much that head's loss on the held-out training images would change without it
(training/influence.py). Test images choose nothing: the last table only reads them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthbridge.data.shards import Sample
from synthbridge.training.influence import (
    HeadProblem,
    fit_head,
    influences,
    mean_loss,
    standardised,
)

# Chosen: on the digits' sets the estimate follows training again most closely (correlation 0.99)
# and the head reads the held-out images no worse than with 1e-3 or 1e-2.
L2 = 0.1
FRACTION = 0.1  # of a set's images that is left out; chosen
NUM_RANDOM = 5  # random choices of as many
NUM_CHECKED = 20  # images for which the head really learns again

WORST, RANDOM = "without the most harmful", "without as many at random"

# Features (N, D) and labels (N,) of samples.
Extract = Callable[[Sequence[Sample]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Judges:
    """The real images that judge heads: held-out training images, and the test images."""

    held_out: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Harm:
    """What was found of one subset: what a run with one seed may see of a set."""

    samples: Sequence[Sample]
    influence: np.ndarray  # (N,) change of the held-out loss without the image; below 0: it harms
    agreement: float  # correlation of the estimate with training again, on NUM_CHECKED images
    accuracies: dict[str, tuple[float, float]]  # which images train -> held out, test (%)

    def order(self) -> np.ndarray:
        """Return the images' indices, the most harmful first."""
        return np.argsort(self.influence, kind="stable")


def find_harm(samples: Sequence[Sample], extract: Extract, judges: Judges, classes: int) -> Harm:
    """Estimate every image's influence, check it, and train without the worst images.

    Args:
        samples: the images of one subset that train.
        extract: gives frozen features.
        judges: the images that judge.
        classes: their number.
    """
    features, labels = extract(samples)
    num_held_out = len(judges.held_out[1])
    inputs, others = standardised(features, torch.cat([judges.held_out[0], judges.test[0]]))
    held_out = others[:num_held_out], judges.held_out[1]
    test = others[num_held_out:], judges.test[1]
    problem = HeadProblem(inputs, labels, classes, L2)
    head = fit_head(problem)
    influence = influences(problem, head, *held_out)
    order, number = influence.argsort(stable=True), max(1, int(FRACTION * len(samples)))
    rng = torch.Generator().manual_seed(0)
    random = [torch.randperm(len(samples), generator=rng)[:number] for _ in range(NUM_RANDOM)]
    choices = {
        "all": [order[:0]],
        WORST: [order[:number]],
        RANDOM: random,
        "without the most helpful": [order[-number:]],
    }
    accuracies = {}
    for name, left_out in choices.items():
        heads = [fit_head(problem.without(images), head) for images in left_out]
        of_heads = [[_accuracy(one, *held_out), _accuracy(one, *test)] for one in heads]
        first, second = np.mean(of_heads, axis=0).tolist()
        accuracies[name] = first, second
    agreement = _agreement(problem, head, influence, held_out)
    return Harm(samples, influence.cpu().numpy(), agreement, accuracies)


def _agreement(
    problem: HeadProblem, head: Tensor, influence: Tensor, held_out: tuple[Tensor, Tensor]
) -> float:
    """Compare the estimate with training again without an image, from the worst to the best."""
    places = torch.linspace(0, len(influence) - 1, NUM_CHECKED).round().long()
    checked = influence.argsort(stable=True)[places]
    before = mean_loss(head, *held_out)
    again = [mean_loss(fit_head(problem.without(one[None]), head), *held_out) for one in checked]
    pairs = torch.stack([influence[checked], torch.stack(again) - before])
    return float(torch.corrcoef(pairs)[0, 1])


def _accuracy(head: Tensor, inputs: Tensor, labels: Tensor) -> float:
    return 100 * float(((inputs @ head.T).argmax(1) == labels).double().mean())
