"""Arms: lists of legs, trained one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from synthbridge.training.auxiliary_norm import require_norms
from synthbridge.training.classifier import freeze_units, renew_head, set_train_mode
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Curve, Recipe, predict, train
from synthbridge.training.mixture import Mixture
from synthbridge.training.schedule import num_batches
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.training.team import Team


@dataclass(frozen=True)
class ArmData:
    """The images that a run trains on, on its device."""

    real: ImageSet  # all training images, or the k shots
    mixed: ImageSet | None  # the same, and the synthetic images behind them
    num_classes: int

    @property
    def synthetic(self) -> ImageSet:
        """The synthetic images alone."""
        assert self.mixed is not None
        return self.mixed.tail(len(self.real))


@dataclass(frozen=True)
class TrainedArm:
    """A final model and how it came about."""

    model: nn.Module
    curve: Curve  # of the last leg
    gradient_steps: int  # over all legs, stage one included
    num_train: int  # images in the last leg; 0 where no leg trains


def real_leg_steps(num_real: int, is_few_shot: bool, real_leg: RealLegSettings, batch: int) -> int:
    """Return the gradient steps of a leg in a run with `num_real` real images.

    Legs on mixed or synthetic images take as many, so that arms differ in what they see and not
    in how long they train; `add_steps_of` makes any of them longer.
    """
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
        learning_rate: the peak, of every leg that trains.
        real_leg: epochs of legs on real images.
        stage_one: the stage-one settings by name, for their numbers of steps.
        is_few_shot: chooses the number of epochs.
        seed: decides every draw.
        team: the processes that train this arm together.

    Raises:
        DivergedError: if training diverges.
    """
    steps_before = sum(stage_one[leg.stage_one].num_steps for leg in legs if leg.stage_one)
    trained_legs = [leg for leg in legs if leg.train_on]
    num_steps = [
        real_leg_steps(len(data.real), is_few_shot, real_leg, recipe.settings.batch_size)
        + (stage_one[leg.add_steps_of].num_steps if leg.add_steps_of else 0)
        for leg in trained_legs
    ]
    curve = _train_legs(model, trained_legs, num_steps, data, recipe, learning_rate, seed, team)
    num_train = len(_leg_images(trained_legs[-1], data)) if trained_legs else 0
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
            mixture=_mixture(leg, data),
        )
    return curve


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
                freeze_units(model, leg.frozen_units)
                if leg.auxiliary_norm:
                    set_train_mode(model, settings.frozen_norm)
                    require_norms(model)
            except ValueError as error:
                raise ValueError(f"arm '{name}', leg {number + 1}: {error}") from None


def leg_seeds(seed: int, num_legs: int) -> list[int]:
    """Draw one seed a leg from the run's seed."""
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(num_legs)]


def _leg_images(leg: LegSettings, data: ArmData) -> ImageSet:
    """Return the images that a leg trains on."""
    if leg.train_on == "real":
        return data.real
    assert data.mixed is not None
    return data.synthetic if leg.train_on == "synthetic" else data.mixed


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
