"""What the stages that train share: which process trains what, and on which images."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator

from synthbridge.core.files import read_json
from synthbridge.core.log import StageLog, progress
from synthbridge.core.processes import missing_units, my_share, wait_for_units
from synthbridge.data.shards import Sample, read_square
from synthbridge.training.classifier import read_normalisation
from synthbridge.training.images import (
    Augmentation,
    ImageSet,
    Normalisation,
    WholeView,
    load_images,
    measure_normalisation,
)
from synthbridge.training.loop import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team, form_team


class Training(Protocol):
    """One model to train."""

    @property
    def path(self) -> Path:
        """Return where it lies in the work folder once it is whole."""
        ...


T = TypeVar("T", bound=Training)


def share_trainings(
    accelerator: Accelerator,
    trainings: Sequence[T],
    *,
    what: str,
    unit: str,
    log: StageLog,
    **about: Any,
) -> Iterator[tuple[T, Team]]:
    """Yield what this process has to train, each with the processes that train it together.

    Those that lie in the work folder are left out. It ends when every process is done. First `log`
    says how long those that are missing will take; a forecast needs `about` for that.
    """
    missing = missing_units(accelerator, trainings, _is_done)
    log.expect(accelerator=accelerator, trainings=missing, **about)
    team = form_team(accelerator, len(missing))
    mine = missing if team.size > 1 else my_share(accelerator, missing)
    for training in progress(mine, total=len(mine), what=what, unit=unit):
        yield training, team
    wait_for_units(accelerator, trainings, _is_done)


def _is_done(training: Training) -> bool:
    return training.path.is_dir()


def make_recipe(settings: TrainingSettings, backbone: Path, flip: bool) -> Recipe:
    """Put the recipe together from params.yaml, the backbone's statistics and the data set."""
    if settings.augment:
        augmentation = Augmentation(settings.min_crop_area, settings.max_stretch, flip)
    else:
        augmentation = WholeView(settings.image_size)
    return Recipe(settings, read_normalisation(backbone), augmentation)


def measured_recipe(recipe: Recipe, real: ImageSet | None, synthetic: ImageSet | None) -> Recipe:
    """Return `recipe` with the statistics that its settings name (training.normalisation).

    Args:
        recipe: with the backbone's own, which stay where there is nothing to measure: in arms on
            real images alone the synthetic ones.
        real: images that the run may see.
        synthetic: the same.
    """
    images = {"backbone": None, "real": real, "synthetic": synthetic}[recipe.settings.normalisation]
    if images is None:
        return recipe
    size = recipe.settings.image_size
    return replace(recipe, normalisation=measure_normalisation(images, size))


def describe_normalisation(recipe: Recipe) -> dict[str, Any]:
    """Return what a record says of the statistics: nothing where they are the backbone's."""
    if recipe.settings.normalisation == "backbone":
        return {}
    return {"normalisation": asdict(recipe.normalisation)}


def recorded_recipe(recipe: Recipe, checkpoint: Path) -> Recipe:
    """Return `recipe` with the statistics of a stage-one model, from the record beside it."""
    found = read_json(checkpoint.with_suffix(".json")).get("normalisation")
    if recipe.settings.normalisation == "backbone" or found is None:
        return recipe
    return replace(recipe, normalisation=Normalisation(tuple(found["mean"]), tuple(found["std"])))


def load_samples(samples: Sequence[Sample], size: int, device: torch.device) -> ImageSet:
    """Decode samples into memory; above SYNTHBRIDGE_CACHE_GIB (16) they stay in their shards."""
    limit = float(os.environ.get("SYNTHBRIDGE_CACHE_GIB", "16"))
    return load_images(
        samples,
        [sample.label for sample in samples],
        read_square,
        size=size,
        device=device,
        memory_limit=int(limit * 2**30),
    )
