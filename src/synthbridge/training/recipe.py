"""Recipes: how images become inputs, and what all legs are optimised with."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from synthbridge.core.files import read_json
from synthbridge.training.classifier import read_normalisation
from synthbridge.training.crops import Augmentation, WholeView
from synthbridge.training.images import ImageSet, Normalisation, measure_normalisation
from synthbridge.training.settings import TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """How images become inputs, and how every leg is optimised."""

    settings: TrainingSettings
    normalisation: Normalisation
    augmentation: Augmentation | WholeView


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
