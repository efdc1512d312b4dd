"""Stage `deliver`: the final model that held-out images prefer becomes a folder for anyone.

Candidates are the arms, each with its set, at the highest number of shots. Each one's models, one a
seed, read the validation images: training images that none of them saw. The best mean decides the
arm and the set; test images decide nothing. Of its seeds the median one is delivered: the best
would flatter, and the first may be a stroke of bad luck. With `deliver.ensemble` it is all of them
together, where that reads the held-out images better than one of them on average.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.core.files import read_json, whole_folder, write_json, write_text
from synthbridge.core.log import StageLog, progress, say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.data.licences import read_licences
from synthbridge.data.real import SPLITS, PreparedDataset, read_dataset
from synthbridge.data.settings import DatasetSettings
from synthbridge.delivery.card import Difference, ModelCard, OnTest, Read, write_card
from synthbridge.delivery.choice import HeldOut, accuracy_interval, choose_best, count_close
from synthbridge.delivery.model import Preprocessing, average, make_model, write_model
from synthbridge.delivery.onnx_file import FILE, TOLERANCE, write_onnx
from synthbridge.delivery.origins import backbone_origin, set_origin
from synthbridge.delivery.settings import DeliverSettings
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.results import TestedModel, read_runs, shots_key
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.statistics import image_weights
from synthbridge.training.classifier import load_classifier
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import predict
from synthbridge.training.recipe import Recipe, make_recipe, recorded_recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team
from synthbridge.upstream.settings import UpstreamSettings

CHOICE = "choice.json"


@dataclass(frozen=True)
class DeliverParams:
    """What the stage reads of params.yaml."""

    dataset: str
    source: str  # of its images
    deliver: DeliverSettings
    training: TrainingSettings
    report: ReportSettings  # the measure, and how sure an interval is
    max_side: int | None  # to which `prepare` reduced large images
    sets: Sequence[str]
    made_of: Mapping[str, Mapping[str, Any]]  # each set's group, for the card
    upstream: UpstreamSettings


@dataclass(frozen=True)
class DeliverInputs:
    """What the earlier stages left."""

    real: Path
    backbone: Path
    models: Path
    results: Path
    generator: Path | None = None  # for the licences that stand beside it

    def families(self, sets: Sequence[str]) -> list[str]:
        """List the folders of arms, below models and results alike."""
        return ["real", *(f"{family}/{name}" for family in ("mixed", "bridged") for name in sets)]


@dataclass(frozen=True)
class Candidate:
    """An arm with its set: one final model a seed."""

    runs: Sequence[TestedModel]  # in the order of their seeds
    files: Sequence[str]  # of each run, below models and results, without an ending
    held_out: HeldOut

    @property
    def delivered(self) -> TestedModel:
        """The run that is delivered if this candidate is."""
        return self.runs[self.held_out.median_seed()]

    @property
    def file(self) -> str:
        """Its place."""
        return self.files[self.held_out.median_seed()]


@dataclass(frozen=True)
class Choice:
    """What is delivered, and out of what."""

    candidates: Sequence[Candidate]
    best: int
    members: Sequence[str]  # the files of the models that answer: one, or the seeds together
    together: float | None  # what all seeds together read of held-out images; None: not asked for

    @property
    def chosen(self) -> Candidate:
        """The best candidate."""
        return self.candidates[self.best]


def deliver(params: DeliverParams, inputs: DeliverInputs, *, out: Path) -> None:
    """Choose a model on held-out images, and write it with its card.

    Args:
        params: settings.
        inputs: where the final models lie.
        out: the folder to write.
    """
    log = StageLog("deliver", f"choosing a model of {params.dataset} on held-out training images")
    dataset = read_dataset(inputs.real)
    folders = [inputs.results / family for family in inputs.families(params.sets)]
    runs = read_runs(folders, params.dataset)
    with start_accelerator() as accelerator:
        judge = Judge(params, inputs, dataset, Team(accelerator, rank=0, size=1))
        candidates = judge.judge(runs)
        best = choose_best([candidate.held_out for candidate in candidates])
        chosen = candidates[best]
        together = judge.read_together(chosen) if params.deliver.ensemble else None
    is_ensemble = together is not None and together > chosen.held_out.accuracy()
    members = chosen.files if is_ensemble else [chosen.file]
    seen = judge.preprocessing(chosen.file)
    choice = Choice(candidates, best, members, together)
    card = _describe(params, inputs, dataset, runs, choice, seen)
    with whole_folder(out) as folder:
        _write_weights(params.dataset, inputs, dataset.class_names, choice, seen, folder)
        write_text(folder / "README.md", write_card(card))
        write_json(folder / CHOICE, card.choice())
    run = chosen.delivered
    log.done(f"the model of arm {run.arm}, set {run.set or '(none)'}, and its card", out)


class Judge:
    """Lets final models read the held-out images, which it decodes once."""

    def __init__(
        self, params: DeliverParams, inputs: DeliverInputs, dataset: PreparedDataset, team: Team
    ):
        """Decode the held-out images."""
        self.params, self.inputs, self.team = params, inputs, team
        # One model takes the weights of all in turn: they differ in nothing else.
        self.model = make_model(inputs.backbone, len(dataset.class_names))
        self.recipe = make_recipe(params.training, inputs.backbone, dataset.flip)
        samples = dataset.samples("validation")
        self.images: ImageSet = load_samples(samples, params.training.resize_size, team.device)
        self.labels = np.array([sample.label for sample in samples])
        self.weights = image_weights(self.labels, params.report.measure)

    def judge(self, runs: Sequence[TestedModel]) -> list[Candidate]:
        """Return the candidates in the order of their runs, with what each answers."""
        most = max(shots_key(run.shots) for run in runs)
        groups: dict[tuple[str, str | None], list[TestedModel]] = {}
        for run in runs:
            if shots_key(run.shots) == most:
                groups.setdefault((run.arm, run.set), []).append(run)
        arms = groups.values()
        counted = progress(arms, total=len(arms), what="reading held-out images", unit="arm")
        return [self._judge(of_arm) for of_arm in counted]

    def _judge(self, runs: Sequence[TestedModel]) -> Candidate:
        files = [self._find(run) for run in runs]
        correct = np.stack([self._read(file).argmax(1) == self.labels for file in files])
        return Candidate(runs, files, HeldOut(correct, self.weights))

    def _find(self, run: TestedModel) -> str:
        """Return the place of a run below models and results."""
        families = ["real"] if run.set is None else [f"{f}/{run.set}" for f in ("mixed", "bridged")]
        places = [f"{family}/{run.arm}/{run.shots}-s{run.seed}" for family in families]
        return next(p for p in places if (self.inputs.results / f"{p}.json").is_file())

    def read_together(self, candidate: Candidate) -> float:
        """Return the accuracy of a candidate's seeds together, as a fraction."""
        answers = average([self._read(file) for file in candidate.files])
        return HeldOut(answers.argmax(1)[None] == self.labels, self.weights).accuracy()

    def _read(self, file: str) -> np.ndarray:
        """Return the class probabilities (N, C) that a final model gives the held-out images."""
        load_classifier(self.model, self.inputs.models / f"{file}.safetensors")
        return predict(self.model, self.images, self._recipe(file), self.team)

    def _recipe(self, file: str) -> Recipe:
        """Return the recipe with the statistics of a run, where it has its own."""
        return recorded_recipe(self.recipe, self.inputs.results / f"{file}.json")

    def preprocessing(self, file: str) -> Preprocessing:
        """Return how an image becomes an input of a final model."""
        training = self.params.training
        normalisation = self._recipe(file).normalisation
        return Preprocessing(
            training.image_size, training.resize_size, normalisation, self.params.max_side
        )


def _write_weights(
    dataset: str,
    inputs: DeliverInputs,
    class_names: Sequence[str],
    choice: Choice,
    seen: Preprocessing,
    folder: Path,
) -> None:
    """Write the final models that were chosen for timm and for ONNX runtimes."""
    files = {name: inputs.models / f"{name}.safetensors" for name in choice.members}
    members = []
    for file in files.values():
        members.append(make_model(inputs.backbone, len(class_names)))
        load_classifier(members[-1], file)
    write_model(
        folder,
        members[0],
        inputs.models / f"{choice.chosen.file}.safetensors",
        members={Path(name).name: file for name, file in files.items()} if len(files) > 1 else {},
        class_names=class_names,
        preprocessing=seen,
        tag=dataset,
    )
    difference = write_onnx(folder / FILE, members, seen.image_size)
    say(f"  {FILE} answers as torch does, within {difference:.1g} of a probability")


def _describe(
    params: DeliverParams,
    inputs: DeliverInputs,
    dataset: PreparedDataset,
    runs: Sequence[TestedModel],
    choice: Choice,
    seen: Preprocessing,
) -> ModelCard:
    """Put together what the card says."""
    chosen = choice.chosen
    run = chosen.delivered
    config = read_json(inputs.backbone / "config.json")
    origins = [backbone_origin(params.upstream, config)]
    if run.set is not None:
        licences = read_licences(inputs.generator) if inputs.generator else []
        made_of = params.made_of[run.set]
        origins.append(set_origin(run.set, made_of, params.upstream, licences))
    return ModelCard(
        dataset=params.dataset,
        source=params.source,
        class_names=dataset.class_names,
        counts={split: len(dataset.samples(split)) for split in SPLITS},
        shots=run.shots,
        seeds=[of_arm.seed for of_arm in chosen.runs],
        seed=run.seed,
        num_members=len(choice.members),
        together=None if choice.together is None else 100 * choice.together,
        read=[_read(candidate) for candidate in choice.candidates],
        best=choice.best,
        num_close=count_close([other.held_out for other in choice.candidates], choice.best),
        measure=params.report.measure,
        selected_on=run.selected_on,
        origins=origins,
        test=_test_result(params.report, inputs, runs, choice),
        architecture=config["architecture"],
        preprocessing=seen,
        tolerance=TOLERANCE,
    )


def _read(candidate: Candidate) -> Read:
    run = candidate.runs[0]
    return Read(run.arm, run.set, 100 * candidate.held_out.accuracy())


def _test_result(
    settings: ReportSettings,
    inputs: DeliverInputs,
    runs: Sequence[TestedModel],
    choice: Choice,
) -> OnTest:
    """Say what the delivered model, its arm and the controls read of the test images."""
    chosen, run = choice.chosen, choice.chosen.delivered
    tested = [np.load(inputs.results / f"{file}.npz") for file in choice.members]
    correct = average([arrays["probabilities"] for arrays in tested]).argmax(1) == run.labels
    weights = image_weights(run.labels, settings.measure)
    low, high = accuracy_interval(correct, weights, settings.confidence, run.groups)
    beside = [
        other
        for other in runs
        if other.shots == run.shots and (other.set is None or other in chosen.runs)
    ]
    return OnTest(
        accuracy=100 * float((correct * weights).mean()),
        low=100 * low,
        high=100 * high,
        mean=float(np.mean([getattr(other, settings.measure) for other in chosen.runs])),
        num_images=len(run.labels),
        confidence=settings.confidence,
        against=[
            Difference(
                found.reference,
                found.reference_accuracy,
                found.interval.difference,
                found.interval.low,
                found.interval.high,
            )
            for found in compare_runs(beside, settings)
            if (found.arm, found.method) == (run.arm, run.method)
        ],
    )


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="deliver", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    for name in ("--real", "--backbone", "--generator", "--models", "--results", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    settings = sections.read(DatasetSettings, f"data.{args.dataset}")
    made_of = {
        **sections.read(dict[str, Any], "synthetic"),
        **sections.read(dict[str, Any], "retrieved"),
    }
    params = DeliverParams(
        dataset=args.dataset,
        source=settings.source,
        deliver=sections.read(DeliverSettings, "deliver"),
        training=sections.read(TrainingSettings, "training"),
        report=sections.read(ReportSettings, "report"),
        max_side=settings.max_side,
        sets=sections.read(list[str], "sets"),
        made_of=made_of,
        upstream=sections.read(UpstreamSettings, "upstream"),
    )
    inputs = DeliverInputs(args.real, args.backbone, args.models, args.results, args.generator)
    deliver(params, inputs, out=args.out)
