"""One run of `finetune`: what it reads, trains and leaves behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from synthbridge.data.manifests import Shots
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import synthetic_samples
from synthbridge.files import whole_file, write_json
from synthbridge.stages.trainings import (
    describe_normalisation,
    load_samples,
    make_recipe,
    measured_recipe,
    recorded_recipe,
)
from synthbridge.training.accuracy import accuracies
from synthbridge.training.arms import ArmData, TrainedArm, check_arms, curve_record, train_arm
from synthbridge.training.classifier import load_backbone, load_classifier, save_classifier
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Recipe, predict
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.training.team import Team
from synthbridge.work import whole_unit

MODEL, RECORD, PREDICTIONS = "model.safetensors", "record.json", "predictions.npz"


@dataclass(frozen=True)
class FinetuneParams:
    """What the stage reads of params.yaml."""

    arms: Mapping[str, Sequence[LegSettings]]  # one family
    shots: Sequence[Shots]  # those that the set's runs may see
    seeds: Sequence[int]
    training: TrainingSettings
    real_leg: RealLegSettings
    stage_one: Mapping[str, StageOneSettings]


@dataclass(frozen=True)
class FinetuneInputs:
    """The files that a family of arms needs."""

    real: Path
    backbone: Path
    rates: Path  # what `select` chose
    blocks: Sequence[Path] = ()  # synthetic shards: mixed arms
    stage_one: Path | None = None  # stage-one models: bridged arms
    kept: Path | None = None  # what `examine` keeps of the blocks' images; None: all

    def synthetic_samples(self, seed: int) -> list[Sample]:
        """List the synthetic images that a run with `seed` may see."""
        return synthetic_samples(self.blocks, seed, self.kept)

    def checkpoint(self, legs: Sequence[LegSettings], seed: int) -> Path | None:
        """Return the stage-one model that an arm starts from; None is the backbone itself."""
        if legs[0].stage_one is None:
            return None
        assert self.stage_one is not None
        return self.stage_one / legs[0].stage_one / f"s{seed}.safetensors"


@dataclass(frozen=True)
class Run:
    """One model to train."""

    arm: str
    shots: Shots
    seed: int
    learning_rate: float  # of legs that train
    path: Path  # its unit of work


class Trainer:
    """Makes runs; keeps what they share: the data set and its test images."""

    def __init__(self, params: FinetuneParams, inputs: FinetuneInputs, team: Team):
        """Decode the test images.

        Raises:
            ValueError: if a leg asks for what the backbone cannot do.
        """
        self.params, self.inputs, self.team = params, inputs, team
        self.dataset: PreparedDataset = read_dataset(inputs.real)
        model = load_backbone(inputs.backbone, num_classes=None, seed=0)
        check_arms(params.arms, model, params.training)
        self.recipe = make_recipe(params.training, inputs.backbone, self.dataset.flip)
        self.test = self._load(self.dataset.samples("test"))
        self.labels = np.array([sample.label for sample in self.dataset.samples("test")])
        extra = self.dataset.extra_test_samples()
        self.extra = self._load(extra) if extra else None
        self.decoded: dict[str, ImageSet] = {}
        self.decoded_for: tuple[Shots, int] | None = None  # the runs that they are of

    def _load(self, samples: Sequence[Sample]) -> ImageSet:
        return load_samples(samples, self.params.training.resize_size, self.team.device)

    def make(self, run: Run) -> None:
        """Train one run and leave its model, record and predictions in the work folder."""
        data = self._load_run(run)
        recipe = self._recipe(run, data)
        trained = self._train(run, data, recipe)
        probabilities = predict(trained.model, self.test, recipe, self.team)
        beside = self._test_extra(trained.model, recipe)
        if self.team.rank != 0:
            return
        with whole_unit(run.path) as unit:
            save_classifier(trained.model, unit / MODEL)
            record = self._record(run, trained, probabilities)
            write_json(unit / RECORD, {**record, **describe_normalisation(recipe), **beside})
            with whole_file(unit / PREDICTIONS) as partial, partial.open("wb") as file:
                np.savez_compressed(file, probabilities=probabilities, labels=self.labels)

    def _test_extra(self, model: nn.Module, recipe: Recipe) -> dict[str, float]:
        """Return the accuracies on the extra test set; nothing where there is none."""
        if self.extra is None:
            return {}
        probabilities = predict(model, self.extra, recipe, self.team)
        return accuracies(probabilities, self.extra.labels.cpu().numpy(), "extra_")

    def _load_run(self, run: Run) -> ArmData:
        """Decode what a run trains on; synthetic images only where a leg or a measurement asks.

        The arms of one seed and number of shots follow one another and share what is decoded.
        """
        if self.decoded_for != (run.shots, run.seed):
            self.decoded_for, self.decoded = (run.shots, run.seed), {}
        real = self.dataset.train_samples(run.shots, run.seed)
        if "real" not in self.decoded:
            self.decoded["real"] = self._load(real)
        mixed = None
        kinds = {leg.train_on for leg in self.params.arms[run.arm]}
        is_measured = self.params.training.normalisation == "synthetic" and self.inputs.blocks
        if kinds & {"mixed", "synthetic"} or is_measured:
            if "mixed" not in self.decoded:
                synthetic = self.inputs.synthetic_samples(run.seed)
                self.decoded["mixed"] = self._load([*real, *synthetic])
            mixed = self.decoded["mixed"]
        return ArmData(self.decoded["real"], mixed, len(self.dataset.class_names))

    def _recipe(self, run: Run, data: ArmData) -> Recipe:
        """Return the recipe with the run's statistics: of its start, where that has its own."""
        if checkpoint := self.inputs.checkpoint(self.params.arms[run.arm], run.seed):
            return recorded_recipe(self.recipe, checkpoint)
        synthetic = None if data.mixed is None else data.synthetic
        return measured_recipe(self.recipe, data.real, synthetic)

    def _train(self, run: Run, data: ArmData, recipe: Recipe) -> TrainedArm:
        legs = self.params.arms[run.arm]
        return train_arm(
            legs,
            self._start(legs, run.seed),
            data,
            recipe,
            learning_rate=run.learning_rate,
            real_leg=self.params.real_leg,
            stage_one=self.params.stage_one,
            is_few_shot=run.shots != "full",
            seed=run.seed,
            team=self.team,
        )

    def _start(self, legs: Sequence[LegSettings], seed: int) -> nn.Module:
        """Make the model that an arm starts from."""
        num_classes = len(self.dataset.class_names)
        model = load_backbone(
            self.inputs.backbone,
            num_classes=num_classes,
            seed=seed,
            start=self.params.training.start,
        )
        if checkpoint := self.inputs.checkpoint(legs, seed):
            load_classifier(model, checkpoint)
        return model

    def _record(self, run: Run, trained: TrainedArm, probabilities: np.ndarray) -> dict:
        return {
            "arm": run.arm,
            "stage_one": self.params.arms[run.arm][0].stage_one,
            "shots": run.shots,
            "seed": run.seed,
            "learning_rate": run.learning_rate if trained.num_train else None,
            "num_train": trained.num_train,
            "gradient_steps": trained.gradient_steps,
            **accuracies(probabilities, self.labels),
            "curve": curve_record(trained.curve),
        }
