"""Arms: lists of legs, trained one after another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from synthbridge.core.log import measuring
from synthbridge.training.auxiliary_norm import require_norms
from synthbridge.training.classifier import freeze_units, renew_head, renew_units, set_train_mode
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Curve, Leg, predict, train
from synthbridge.training.mixture import Mixture
from synthbridge.training.recipe import Recipe
from synthbridge.training.schedule import num_batches
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    TrainingSettings,
)
from synthbridge.training.team import Team


@dataclass(frozen=True, kw_only=True)
class ArmTraining:
    """How an arm is trained in one run, its images aside."""

    legs: Sequence[LegSettings]  # the first one may name the stage-one model that the run starts as
    learning_rate: float  # the peak, of every leg that trains
    real_leg: RealLegSettings  # epochs of legs on real images
    stage_one_steps: Mapping[str, int]  # gradient steps of each stage-one model, by name
    is_few_shot: bool  # chooses the number of epochs
    fresh_model: Callable[[int], nn.Module]  # draws the network for training from nothing
    seed: int  # decides every draw


@dataclass(frozen=True)
class ArmData:
    """The images that a run trains on, on its device; never a validation or test image."""

    real: ImageSet  # all training images, or the k shots
    mixed: ImageSet | None  # the same, and the synthetic images behind them
    num_classes: int

    @property
    def synthetic(self) -> ImageSet:
        """The synthetic images alone."""
        assert self.mixed is not None
        return self.mixed.tail(len(self.real))

    def of_leg(self, leg: LegSettings) -> ImageSet:
        """Return the images that a leg trains on."""
        if leg.train_on == "real":
            return self.real
        assert self.mixed is not None
        return self.synthetic if leg.train_on == "synthetic" else self.mixed


@dataclass(frozen=True)
class TrainedArm:
    """A final model and how it came about."""

    model: nn.Module
    curve: Curve  # of the last leg
    gradient_steps: int  # over all legs, stage one included
    num_train: int  # images in the last leg; 0 where no leg trains


def train_arm(
    arm: ArmTraining, model: nn.Module, data: ArmData, recipe: Recipe, team: Team
) -> TrainedArm:
    """Train `model` in place through the legs of an arm.

    Args:
        arm: the legs, and how they are trained.
        model: what the first leg starts from.
        data: what the run may see.
        recipe: what all legs share.
        team: the processes that train this arm together.

    Raises:
        DivergedError: if training diverges.
    """
    gradient_steps = sum(arm.stage_one_steps[leg.stage_one] for leg in arm.legs if leg.stage_one)
    curve, num_train = Curve(), 0
    trained_legs = [leg for leg in arm.legs if leg.train_on]
    seeds = leg_seeds(arm.seed, len(trained_legs))
    for number, (leg, seed) in enumerate(zip(trained_legs, seeds, strict=True), start=1):
        setting, num_kept = leg.kept_units
        if leg.fresh_head:
            renew_head(model, data.num_classes, seed)
        if leg.transferred_units is not None:
            renew_units(model, arm.fresh_model(seed), num_kept)
        freeze_units(model, num_kept, setting)
        images = data.of_leg(leg)
        num_steps = _num_steps(arm, leg, len(data.real), recipe.settings.batch_size)
        course = Leg(
            num_steps=num_steps,
            learning_rate=arm.learning_rate,
            seed=seed,
            mixup=leg.mixup,
            mixture=_mixture(leg, data),
        )
        with measuring(f"leg-{number}"):
            curve = train(model, images, recipe, course, team)
        gradient_steps, num_train = gradient_steps + num_steps, len(images)
    return TrainedArm(model, curve, gradient_steps, num_train)


def _num_steps(arm: ArmTraining, leg: LegSettings, num_real: int, batch_size: int) -> int:
    """Return the gradient steps of a leg in a run with `num_real` real images."""
    longer = arm.stage_one_steps[leg.add_steps_of] if leg.add_steps_of else 0
    return real_leg_steps(num_real, arm.is_few_shot, arm.real_leg, batch_size) + longer


def real_leg_steps(num_real: int, is_few_shot: bool, real_leg: RealLegSettings, batch: int) -> int:
    """Return the gradient steps of a leg in a run with `num_real` real images.

    Legs on mixed or synthetic images take as many, so that arms differ in what they see and not
    in how long they train; `add_steps_of` makes any of them longer.
    """
    epochs = real_leg.num_epochs_few_shot if is_few_shot else real_leg.num_epochs
    return epochs * num_batches(num_real, batch)


def leg_seeds(seed: int, num_legs: int) -> list[int]:
    """Draw one seed a leg from the run's seed."""
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(num_legs)]


def _mixture(leg: LegSettings, data: ArmData) -> Mixture | None:
    """Return how a mixed leg treats real and synthetic images; None for other legs."""
    if leg.train_on != "mixed":
        return None
    return Mixture(
        num_real=len(data.real),
        synthetic_fraction=leg.synthetic_fraction,
        synthetic_weight=leg.synthetic_weight,
        auxiliary_norm=leg.auxiliary_norm,
    )


def check_arms(
    arms: Mapping[str, Sequence[LegSettings]], model: nn.Module, settings: TrainingSettings
) -> None:
    """Refuse what a kind of model cannot do, before any of the arms is trained.

    Args:
        arms: lists of legs by name.
        model: as an arm starts from; it is of no use afterwards.
        settings: what all legs share.

    Raises:
        ValueError: naming the arm and the leg.
    """
    for name, legs in arms.items():
        for number, leg in enumerate(legs):
            try:
                setting, num_kept = leg.kept_units
                freeze_units(model, num_kept, setting)
                if leg.auxiliary_norm:
                    set_train_mode(model, settings.frozen_norm)
                    require_norms(model)
            except ValueError as error:
                raise ValueError(f"arm '{name}', leg {number + 1}: {error}") from None


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
