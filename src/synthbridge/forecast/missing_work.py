"""How long the work that a stage finds missing will take: what `StageLog.expect` asks.

The one door to this room for stages, and they do not even import it: the entry installs it
(`running.console`). So no key of a unit and no dependency in dvc.yaml rests on a forecast.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.forecast import amounts
from synthbridge.forecast.amounts import Amounts
from synthbridge.forecast.sizes import prepared_size
from synthbridge.forecast.speeds import (
    BACKBONE_KINDS,
    GENERATOR_KINDS,
    backbone_name,
    choose_speeds,
    generator_name,
)
from synthbridge.forecast.training_counts import TrainingCounts
from synthbridge.upstream.settings import UpstreamSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from synthbridge.data.synthetic import PlannedShard
    from synthbridge.diffusion.settings import SamplingSettings
    from synthbridge.forecast.memory import Job
    from synthbridge.stages.bridge import BridgeParams, StageOneRun
    from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, Finetuning
    from synthbridge.stages.invert import InvertParams
    from synthbridge.stages.select import SelectParams, Trial
    from synthbridge.stages.sift import SiftParams
    from synthbridge.training.uncertainty import Scoring


THROUGH_DENOISER = ("dsi", "class_tokens")  # the words of `oracle` are learned from texts alone


@dataclass(frozen=True)
class MissingWork:
    """What a stage has still to do."""

    rounds: Sequence[Sequence[Amounts]]  # units in the order in which they are dealt
    each: Amounts = field(default_factory=dict)  # what every process does first
    is_shared: bool = False  # fewer units than processes are shared by all (trainings)


@dataclass(frozen=True)
class Forecast:
    """How long a stage will take, and by whose speeds."""

    seconds: float
    origin: str


def forecast(stage: str, missing: Mapping[str, Any]) -> Forecast | None:
    """Return how long what is missing will take; None: nothing is, or no speed of it is known.

    Args:
        stage: its name.
        missing: `accelerator`, `generator` (a folder) where one draws, and what the function of
            the stage in COUNTS takes.

    Raises:
        ValueError: if the generator does not fit the device's memory.
    """
    # Here: it brings torch, and every command and stage imports this module when it starts.
    from synthbridge.forecast.memory import check_memory, is_told_scale

    facts = dict(missing)
    accelerator: Accelerator = facts.pop("accelerator")
    folder: Path | None = facts.pop("generator", None)
    if folder is not None:
        facts["is_told_scale"] = is_told_scale(folder)
    work: MissingWork = COUNTS[stage](**facts)
    if not any(work.rounds):
        return None
    if folder is not None:
        job = _learning(facts) if stage == "invert" else _drawing(facts["shards"])
        check_memory(folder, accelerator.device, job)
    kinds = amounts.add(work.each, *(unit for units in work.rounds for unit in units)).keys()
    values = read_yaml(Path("params.yaml"))
    upstream = check_settings(UpstreamSettings, values["upstream"], "upstream")
    backbone = None
    if not kinds.isdisjoint(BACKBONE_KINDS):
        backbone = backbone_name(upstream, values["training"]["image_size"])
    generator = None if kinds.isdisjoint(GENERATOR_KINDS) else generator_name(upstream)
    kind = "gpu" if accelerator.device.type == "cuda" else "cpu"
    if (speeds := choose_speeds(kind, generator, backbone)) is None:
        return None
    seconds = speeds.of(generator, backbone)
    took = sum(
        amounts.seconds_of_units(units, seconds, accelerator.num_processes, work.is_shared)
        for units in work.rounds
    )
    return Forecast(amounts.total(work.each, seconds) + took, speeds.origin)


def _learning(facts: Mapping[str, Any]) -> "Job":
    """Say what `invert` does at once: a caption a class, and the empty prompt of its samples."""
    from synthbridge.forecast.memory import Job

    params: InvertParams = facts["params"]
    num_prompts = prepared_size(facts["real"]).num_classes + 1
    if params.synthetic.tuned is not None:
        return Job(num_prompts, params.tune.batch_size, tunes=True)
    learns = params.synthetic.prompts in THROUGH_DENOISER
    return Job(num_prompts, params.invert.batch_size if learns else None)


def _drawing(shards: "Sequence[PlannedShard]") -> "Job":
    """Say what `generate` does at once: perhaps every image of a shard has a prompt of its own."""
    from synthbridge.forecast.memory import Job

    return Job(1 + max(shard.num_images for shard in shards))


def _upstream(params: UpstreamSettings, missing: Sequence[Sequence[str]]) -> MissingWork:
    """The miniature's models that are missing, by name, in their two rounds."""
    models = amounts.miniature_models(params)
    rounds = [
        [of_round[name] for name in names] for of_round, names in zip(models, missing, strict=True)
    ]
    return MissingWork(rounds)


def _invert(
    params: "InvertParams", real: Path, num_missing: int, is_told_scale: bool = False
) -> MissingWork:
    """Subsets of a set, each with its grid of samples."""
    learned = amounts.learning(
        params.synthetic,
        params.invert,
        params.tune,
        params.generate,
        prepared_size(real),
        is_told_scale=is_told_scale,
    )
    return MissingWork([[learned] * num_missing if learned else []], each={"load_generator": 1})


def _generate(
    shards: "Sequence[PlannedShard]",
    sampling: "SamplingSettings",
    guidance_scale: float,
    image_strength: float | None,
    is_told_scale: bool = False,
) -> MissingWork:
    """Shards to draw."""
    units = [
        amounts.drawing(
            shard.num_images, sampling, guidance_scale, image_strength, is_told_scale=is_told_scale
        )
        for shard in shards
    ]
    return MissingWork([units], each={"load_generator": 1})


def _select(trainings: "Sequence[Trial]", params: "SelectParams", real: Path) -> MissingWork:
    """Trials of learning rates, each judged on the split that selects."""
    size = prepared_size(real)
    counts = TrainingCounts(params.training.batch_size, params.real_leg, {}, size)
    return _trainings(counts.trial(trial.shots) for trial in trainings)


def _sift(trainings: "Sequence[Scoring]", params: "SiftParams") -> MissingWork:
    """Classifiers that choose images, each asked about all of its subset."""
    batch_size = params.training.batch_size
    return _trainings(
        amounts.choosing(
            len(scoring.learned), len(scoring.judged), scoring.leg.num_steps, batch_size
        )
        for scoring in trainings
    )


def _bridge(
    trainings: "Sequence[StageOneRun]", params: "BridgeParams", num_images: Mapping[int, int]
) -> MissingWork:
    """Stage-one models; `num_images` of each seed's set are decoded once for all of its models."""
    batch_size, num_models = params.training.batch_size, len(params.stage_one)
    return _trainings(
        amounts.first_leg(num_images[run.seed], run.num_steps, batch_size, num_models)
        for run in trainings
    )


def _finetune(
    trainings: "Sequence[Finetuning]", params: "FinetuneParams", inputs: "FinetuneInputs"
) -> MissingWork:
    """Runs of arms, each judged on the test images."""
    size = prepared_size(inputs.real)
    counts = TrainingCounts(params.training.batch_size, params.real_leg, params.stage_one, size)
    volume = cache(lambda seed: len(inputs.synthetic_samples(seed)) if inputs.blocks else 0)
    return _trainings(
        counts.run(
            params.arms[run.arm], run.shots, volume=volume(run.seed), num_judged=size.num_test
        )
        for run in trainings
    )


def _trainings(units: Iterable[Amounts]) -> MissingWork:
    return MissingWork([list(units)], is_shared=True)


COUNTS: dict[str, Callable[..., MissingWork]] = {
    "upstream": _upstream,
    "invert": _invert,
    "generate": _generate,
    "sift": _sift,
    "select": _select,
    "bridge": _bridge,
    "finetune": _finetune,
}
