"""Settings of training: `training`, `stage_one` and `arms` in params.yaml."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from synthbridge.core.settings import Settings


class TrainingSettings(Settings):
    """`training` in params.yaml: what all legs share."""

    batch_size: int = Field(ge=1)  # images a gradient step, over all processes together
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    image_size: int = Field(ge=1)  # pixels: what the network sees
    resize_size: int = Field(ge=1)  # pixels: the shorter side before the crop
    min_crop_area: float = Field(gt=0, le=1)  # random resized crop: smallest fraction of the area
    max_stretch: float = Field(ge=1)  # random resized crop: largest ratio of its sides
    augment: bool  # false: the centre crop alone, also in training
    # The statistics that inputs are normalised with: the pretrained model's, or measured.
    normalisation: Literal["backbone", "real", "synthetic"]
    start: Literal["backbone", "random"]  # pretrained weights, or fresh ones drawn from the seed
    frozen_norm: Literal["eval", "train"]  # whether frozen units' batch norms follow the batch

    @field_validator("batch_size")
    @classmethod
    def _more_than_one(cls, size: int) -> int:
        if size == 1:
            raise ValueError(
                "a batch norm cannot learn from one image; choose 2 or more, over all processes"
            )
        return size

    @model_validator(mode="after")
    def _crop_fits(self) -> "TrainingSettings":
        if self.resize_size < self.image_size:
            raise ValueError(
                f"resize_size {self.resize_size} must be at least image_size {self.image_size}"
            )
        return self


class ProbeSettings(Settings):
    """`probe` in params.yaml."""

    cues: bool  # test stage-one models on texture alone and on shape alone
    # Of linear heads on frozen features: over the training images, at each learning rate.
    num_epochs: int = Field(ge=1)


class RealLegSettings(Settings):
    """`real_leg` in params.yaml: a leg on real images, alone or mixed with synthetic ones."""

    learning_rates: list[float] = Field(min_length=1)  # `select` keeps the best
    # The split that they are judged on. Test is the paper's way, and flatters: every number made
    # so is marked. Nothing: the one rate that stands there, which no labelled image chose.
    select_on: Literal["validation", "test", "nothing"]
    num_epochs: int = Field(ge=1)  # on all real training images
    num_epochs_few_shot: int = Field(ge=1)  # on k shots

    @model_validator(mode="after")
    def _positive_rates(self) -> "RealLegSettings":
        if min(self.learning_rates) <= 0:
            raise ValueError(f"learning_rates {self.learning_rates} must all be above 0")
        return self

    @model_validator(mode="after")
    def _nothing_to_select(self) -> "RealLegSettings":
        if self.select_on == "nothing" and len(self.learning_rates) > 1:
            raise ValueError(
                "select_on is nothing, so that learning_rates holds the one rate of every leg, "
                f"but it is {self.learning_rates}; leave one, or select_on validation"
            )
        return self


class StageOneSettings(Settings):
    """`stage_one.<name>` in params.yaml: a first leg on synthetic images alone."""

    # Its length: gradient steps, or epochs of a set with so many images a class. Not of the images
    # at hand, so that every set, and every control with as many steps, trains equally long.
    num_steps: int | None = Field(default=None, ge=1)
    num_epochs: int | None = Field(default=None, ge=1)
    images_per_class: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(gt=0)
    mixup: float = Field(ge=0)  # alpha of the beta distribution; 0 is no mixup

    @model_validator(mode="after")
    def _has_one_length(self) -> "StageOneSettings":
        epochs = {"num_epochs": self.num_epochs, "images_per_class": self.images_per_class}
        given = {"num_steps": self.num_steps, **epochs}
        found = [name for name, value in given.items() if value is not None]
        if found not in (["num_steps"], list(epochs)):
            raise ValueError(
                f"a stage one is as long as num_steps says, or num_epochs with images_per_class, "
                f"but has {' and '.join(found) or 'none of them'}; give one of the two"
            )
        return self

    def steps(self, num_classes: int, batch_size: int) -> int:
        """Return the gradient steps: given, or those of the epochs over so many classes."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.num_epochs is not None and self.images_per_class is not None
        images = self.num_epochs * num_classes * self.images_per_class
        return math.ceil(images / batch_size)


def stage_one_steps(
    stage_one: Mapping[str, StageOneSettings], num_classes: int, batch_size: int
) -> dict[str, int]:
    """Return how many gradient steps each stage-one model takes, by its name."""
    return {name: settings.steps(num_classes, batch_size) for name, settings in stage_one.items()}


class LegSettings(Settings):
    """One leg of an arm: either a stage-one model by name, or a training on images.

    Only what a leg does otherwise than the plain one is written down.
    """

    stage_one: str | None = None  # start from this stage-one model (first leg only)
    train_on: Literal["real", "synthetic", "mixed"] | None = None
    add_steps_of: str | None = None  # train this stage-one model's number of steps longer
    mixup: float = Field(default=0.0, ge=0)
    fresh_head: bool = False  # FC reinit: a new head before the leg
    # Layer groups, from the input on, that stay as the leg finds them. Those above continue from
    # there, or, with `transferred_units` (Gap), start as for training from nothing.
    frozen_units: int = Field(default=0, ge=0)
    transferred_units: int | None = Field(default=None, ge=0)
    # Of mixed legs, of every batch; null concatenates real and synthetic images plainly.
    synthetic_fraction: float | None = Field(default=None, gt=0, lt=1)
    synthetic_weight: float = Field(default=1.0, gt=0)  # in the loss; real images weigh 1
    auxiliary_norm: bool = False  # synthetic images pass through norms of their own

    @model_validator(mode="after")
    def _one_kind(self) -> "LegSettings":
        if (self.stage_one is None) == (self.train_on is None):
            raise ValueError("a leg names either stage_one or train_on (real, synthetic or mixed)")
        options = self.model_dump(exclude_defaults=True).keys() - {"stage_one", "train_on"}
        if self.stage_one is not None and options:
            raise ValueError(
                f"a leg that names stage_one takes that model as it is, but has "
                f"{', '.join(sorted(options))}; move it to a leg that trains"
            )
        return self

    @model_validator(mode="after")
    def _keeps_rightly(self) -> "LegSettings":
        if self.transferred_units is not None and (self.frozen_units or self.fresh_head):
            other = "frozen_units" if self.frozen_units else "fresh_head"
            raise ValueError(
                f"transferred_units freezes the units that it keeps and draws all others anew, the "
                f"head too, but the leg has {other} as well; take one of the two"
            )
        return self

    @property
    def kept_units(self) -> tuple[str, int]:
        """Return how many units stay as they are, behind the name of the setting that says so."""
        if self.transferred_units is None:
            return "frozen_units", self.frozen_units
        return "transferred_units", self.transferred_units

    @model_validator(mode="after")
    def _mixes_rightly(self) -> "LegSettings":
        own = {"synthetic_fraction", "synthetic_weight", "auxiliary_norm"}
        given = sorted(own & self.model_dump(exclude_defaults=True).keys())
        if given and self.train_on != "mixed":
            raise ValueError(
                f"{', '.join(given)} says how real and synthetic images share a batch; "
                "it goes with train_on: mixed"
            )
        apart = [name for name in given if name != "synthetic_fraction"]
        if apart and self.mixup > 0:
            raise ValueError(
                f"{apart[0]} treats real and synthetic images apart, and mixup {self.mixup} blends "
                "one with the other; take one of the two"
            )
        return self


Legs = Annotated[list[LegSettings], Field(min_length=1)]  # of an arm, in order
