"""Arms: lists of legs, trained one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from synthbridge.training.classifier import freeze_units, renew_head
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Curve, Recipe, predict, train
from synthbridge.training.schedule import num_batches
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings
from synthbridge.training.team import Team


@dataclass(frozen=True)
class ArmData:
    """The images that a run trains on, on its device."""

    real: ImageSet  # all training images, or the k shots
    mixed: ImageSet | None  # the same and the synthetic images, plainly concatenated
    num_classes: int


@dataclass(frozen=True)
class TrainedArm:
    """A final model and how it came about."""

    model: nn.Module
    curve: Curve  # of the last leg
    gradient_steps: int  # over all legs, stage one included
    num_train: int  # images in the last leg; 0 where no leg trains on real images


def real_leg_steps(num_real: int, is_few_shot: bool, real_leg: RealLegSettings, batch: int) -> int:
    """Return the gradient steps of a leg on `num_real` images."""
    epochs = real_leg.num_epochs_few_shot if is_few_shot else real_leg.num_epochs
    return epochs * num_batches(num_real, batch)


def train_arm(
    legs: Sequence[LegSettings],
    model: nn.Module,
    data: ArmData,
    recipe: Recipe,
    *,
    learning_rate: float,
    real_leg: RealLegSettings,
    stage_one: Mapping[str, StageOneSettings],
    is_few_shot: bool,
    seed: int,
    team: Team,
) -> TrainedArm:
    """Train `model` in place through the legs of an arm.

    Args:
        legs: what to do; the first one may name the stage-one model that `model` is.
        model: what the first leg starts from.
        data: what the run may see; never a validation or test image.
        recipe: what all legs share.
        learning_rate: the peak, of every leg on real images.
        real_leg: epochs of legs on real images.
        stage_one: the stage-one settings by name, for their numbers of steps.
        is_few_shot: chooses the number of epochs.
        seed: decides every draw.
        team: the processes that train this arm together.

    Raises:
        DivergedError: if training diverges.
    """
    steps_before = sum(stage_one[leg.stage_one].num_steps for leg in legs if leg.stage_one)
    real_legs = [leg for leg in legs if leg.train_on]
    num_steps = [
        real_leg_steps(len(data.real), is_few_shot, real_leg, recipe.settings.batch_size)
        + (stage_one[leg.add_steps_of].num_steps if leg.add_steps_of else 0)
        for leg in real_legs
    ]
    curve = _train_legs(model, real_legs, num_steps, data, recipe, learning_rate, seed, team)
    num_train = len(_leg_images(real_legs[-1], data)) if real_legs else 0
    return TrainedArm(model, curve, steps_before + sum(num_steps), num_train)


def _train_legs(
    model: nn.Module,
    legs: Sequence[LegSettings],
    num_steps: Sequence[int],
    data: ArmData,
    recipe: Recipe,
    rate: float,
    seed: int,
    team: Team,
) -> Curve:
    """Train `model` in place through `legs`; return the curve of the last one."""
    curve = Curve()
    for index, (leg, count) in enumerate(zip(legs, num_steps, strict=True)):
        leg_seed = leg_seeds(seed, len(legs))[index]
        if leg.fresh_head:
            renew_head(model, data.num_classes, leg_seed)
        freeze_units(model, leg.frozen_units)
        curve = train(
            model,
            _leg_images(leg, data),
            recipe,
            num_steps=count,
            learning_rate=rate,
            mixup=leg.mixup,
            seed=leg_seed,
            team=team,
        )
    return curve


def leg_seeds(seed: int, num_legs: int) -> list[int]:
    """Draw one seed a leg from the run's seed."""
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(num_legs)]


def _leg_images(leg: LegSettings, data: ArmData) -> ImageSet:
    """Return the images that a leg trains on."""
    if leg.train_on == "real":
        return data.real
    assert data.mixed is not None
    return data.mixed


def held_out_accuracy(model: nn.Module, images: ImageSet, recipe: Recipe, team: Team) -> float:
    """Return the top-1 accuracy on `images`."""
    predicted = predict(model, images, recipe, team).argmax(1)
    return float((predicted == images.labels.cpu().numpy()).mean())


def describe_legs(legs: Sequence[LegSettings]) -> list[dict[str, Any]]:
    """Turn legs into plain values for a unit's key; unset options are left out."""
    return [leg.model_dump(exclude_defaults=True) for leg in legs]


def curve_record(curve: Curve) -> dict[str, list[float]]:
    """Turn a curve into plain values, rounded to what they can tell."""
    return {name: [round(value, 6) for value in values] for name, values in asdict(curve).items()}
