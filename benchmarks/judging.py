"""What a set is worth before any test image is read.

A stage-one model trains on the set and reads the real training and validation images, which it has
not seen. What is chosen by that leaves the test images to the final figures.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import measure  # noqa: F401  # puts the package on the path
import numpy as np

from synthbridge.data.real import PreparedDataset
from synthbridge.data.shards import Sample
from synthbridge.params import Params
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import load_samples
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import make_recipe
from synthbridge.training.team import Team

DATA = Path("data")
REAL, BACKBONE = DATA / "real/digits", DATA / "upstream/backbone"
SPLITS = ("train", "validation")  # never test


class Judge:
    """The default's stage one, and the real images that it is judged on."""

    def __init__(self, params: Params, dataset: PreparedDataset, team: Team):
        self.params, self.team = params, team
        self.num_classes = len(dataset.class_names)
        real = [sample for split in SPLITS for sample in dataset.samples(split)]
        self.images = self._load(real)
        self.labels = np.array([sample.label for sample in real])
        self.recipe = make_recipe(params.training, BACKBONE, dataset.flip)

    def accuracy(self, samples: Sequence[Sample], seed: int) -> float:
        """Train a stage-one model on the images; return its accuracy on real ones, in percent."""
        settings = self.params.stage_one["plain"]
        model = load_backbone(BACKBONE, num_classes=self.num_classes, seed=seed)
        leg = Leg(
            num_steps=settings.steps(self.num_classes, self.params.training.batch_size),
            learning_rate=settings.learning_rate,
            seed=seed,
            mixup=settings.mixup,
        )
        train(model, self._load(samples), self.recipe, leg, self.team)
        answers = predict(model, self.images, self.recipe, self.team).argmax(1)
        return 100 * float((answers == self.labels).mean())

    def _load(self, samples: Sequence[Sample]):
        return load_samples(samples, self.params.training.resize_size, self.team.device)


def differences(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Subtract the reference's value of the same seed from each."""
    return [own - other for own, other in zip(values, reference, strict=True)]


def spread(values: Sequence[float]) -> Mapping[str, float]:
    """Return mean and sample standard deviation."""
    return {"mean": statistics.mean(values), "spread": statistics.stdev(values)}
