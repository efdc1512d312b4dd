"""How unsure a classifier is of images, one that has trained on a part of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbridge.core.files import write_json
from synthbridge.core.units import whole_unit
from synthbridge.data.real import PreparedDataset
from synthbridge.data.shards import Sample
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import load_samples
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import make_recipe, measured_recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team

ENTROPIES, RECORD = "entropies.npy", "record.json"  # of a unit of work


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy of each prediction (N, C): (N,) float64, in nats; 0 of a sure one."""
    p = probabilities.astype(np.float64)
    return -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(1)


@dataclass(frozen=True)
class Scoring:
    """One classifier to train on some images, and to be asked about all of them."""

    learned: Sequence[Sample]
    judged: Sequence[Sample]
    leg: Leg
    path: Path  # its unit of work


class Scorer:
    """Makes scorings; keeps what they share."""

    def __init__(
        self, training: TrainingSettings, dataset: PreparedDataset, backbone: Path, team: Team
    ):
        """Make the recipe. Real statistics are none here: no real image is looked at."""
        self.training, self.dataset, self.backbone = training, dataset, backbone
        self.team = team
        self.recipe = make_recipe(training, backbone, dataset.flip)

    def make(self, scoring: Scoring) -> None:
        """Train one classifier and leave the entropies of what it judges in the work folder."""
        size, device = self.training.resize_size, self.team.device
        images = load_samples(scoring.learned, size, device, whole=True)
        recipe = measured_recipe(self.recipe, None, images)
        model = load_backbone(
            self.backbone,
            num_classes=len(self.dataset.class_names),
            seed=scoring.leg.seed,
            start=self.training.start,
        )
        train(model, images, recipe, scoring.leg, self.team)
        probabilities = predict(
            model, load_samples(scoring.judged, size, device), recipe, self.team
        )
        if self.team.rank != 0:
            return
        labels = np.array([sample.label for sample in scoring.judged])
        accuracy = float((probabilities.argmax(1) == labels).mean())
        with whole_unit(scoring.path) as unit:
            np.save(unit / ENTROPIES, entropies(probabilities), allow_pickle=False)
            write_json(unit / RECORD, {"accuracy": accuracy, "num_learned": len(images)})
