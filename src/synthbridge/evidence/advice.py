"""Advice: what the runs say of the next step. More labels, more drawn images, or more seeds?

Each sentence rests on paired differences of runs that were made, with their intervals; what was not
run is called so. None of them is corrected for the number of looks.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthbridge.evidence.comparisons import (
    Comparison,
    interval_of,
    interval_words,
    pairs_of,
    points_words,
    runs_of,
    seeds_words,
    shots_words,
)
from synthbridge.evidence.results import REAL, REFERENCE, Shots, TestedModel, shots_key
from synthbridge.evidence.settings import PrimaryComparison, ReportSettings
from synthbridge.evidence.statistics import (
    Axis,
    Interval,
    half_width,
    image_weights,
    seeds_and_groups,
)
from synthbridge.evidence.verdict import judge, primary_rows, primary_verdict

MOST_SEEDS = 64  # beyond, other means are nearer


@dataclass(frozen=True)
class LabelStep:
    """What further real images bring the reference, beside what a set's images bring."""

    shots: Shots
    more: Shots
    num_images: float  # further real images a class
    labels: Interval  # the reference with `more` over the reference with `shots`
    drawn: Interval | None  # the arm over the reference, both with `shots`; None: not run
    instead: Interval | None  # the arm with `shots` over the reference with `more`


def label_steps(runs: Sequence[TestedModel], settings: ReportSettings) -> list[LabelStep]:
    """Compare neighbouring numbers of shots of the reference, and the primary arm with both."""
    primary = settings.primary
    reference = REFERENCE if primary is None else primary.reference
    counts = sorted({run.shots for run in runs if run.arm == reference}, key=shots_key)
    steps = []
    for shots, more in itertools.pairwise(counts):
        few, many = (runs_of(runs, reference, REAL, count) for count in (shots, more))
        own = {} if primary is None else runs_of(runs, primary.arm, primary.method, shots)
        if pairs := pairs_of(many, few):
            num_classes = len(np.unique(pairs[0][0].labels))
            added = np.mean([after.num_train - before.num_train for after, before in pairs])
            steps.append(
                LabelStep(
                    shots=shots,
                    more=more,
                    num_images=float(added) / num_classes,
                    labels=interval_of(pairs, settings),
                    drawn=_difference(own, few, settings),
                    instead=_difference(own, many, settings),
                )
            )
    return steps


def _difference(
    arm: dict[int, TestedModel], reference: dict[int, TestedModel], settings: ReportSettings
) -> Interval | None:
    pairs = pairs_of(arm, reference)
    return interval_of(pairs, settings) if pairs else None


def label_sentences(steps: Sequence[LabelStep], primary: PrimaryComparison | None) -> list[str]:
    """Say what a further real image is worth where the verdict was made, and what is not known."""
    if not steps:
        return [
            "Not measured: real images were tried in one number a class. With a second one in "
            "'shots', this page says what further labels bring."
        ]
    shots = "full" if primary is None else primary.shots
    here = next((step for step in steps if step.shots == shots), None)
    if here is not None or shots == "full":
        return _label_sentences(here or steps[-1], primary)
    return [
        f"Not measured beyond {shots_words(shots)}: add a larger number to 'shots' to "
        "learn what the next labels bring. Below it:",
        *_label_sentences(steps[-1], primary),
    ]


def _label_sentences(step: LabelStep, primary: PrimaryComparison | None) -> list[str]:
    reference = REFERENCE if primary is None else primary.reference
    few, many = shots_words(step.shots), shots_words(step.more)
    further = f"{step.num_images:,.0f} further label{'s' * (round(step.num_images) != 1)} a class"
    each = ""
    if step.num_images > 1:
        each = f", {points_words(step.labels.difference / step.num_images, 2)} each on average"
    sentences = [
        f"From {few} to {many}, {further} bring {reference} {interval_words(step.labels)} "
        f"points{each}."
    ]
    if primary is not None and step.instead is not None:
        sentences.append(
            f"{primary.arm} with {few} against {reference} with {many}: "
            f"{interval_words(step.instead)}. {_which(step.instead, further)}"
        )
    return sentences


def _which(instead: Interval, further: str) -> str:
    """Say which brings more, labels or drawn images."""
    if instead.is_known and instead.high < 0:
        return f"So {further} bring more than the images of the set."
    if instead.is_known and instead.low > 0:
        return f"So the images of the set bring more than {further}."
    return "These runs cannot tell which of the two brings more."


@dataclass(frozen=True)
class VolumeStep:
    """The primary arm with two sets that differ in their number of images alone."""

    fewer: int  # images a class
    more: int
    interval: Interval  # of more over fewer


def volume_steps(
    runs: Sequence[TestedModel], settings: ReportSettings, made_of: Mapping[str, Mapping[str, Any]]
) -> list[VolumeStep]:
    """Compare neighbouring volumes of the primary set.

    Args:
        runs: of one data set.
        settings: of the report.
        made_of: by set, its group in params.yaml.
    """
    primary = settings.primary
    cells = {} if primary is None else _volumes(runs, primary, made_of)
    steps = []
    for fewer, more in itertools.pairwise(sorted(cells)):
        if pairs := pairs_of(cells[more], cells[fewer]):
            steps.append(VolumeStep(fewer, more, interval_of(pairs, settings)))
    return steps


def _volumes(
    runs: Sequence[TestedModel],
    primary: PrimaryComparison,
    made_of: Mapping[str, Mapping[str, Any]],
) -> dict[int, dict[int, TestedModel]]:
    """Return the runs of the primary arm, by images a class and seed, on sets that are alike."""
    own = runs_of(runs, primary.arm, primary.method, primary.shots)
    name = next((run.set for run in own.values()), None)
    if name is None or name not in made_of:
        return {}
    cells: dict[int, dict[int, TestedModel]] = {made_of[name]["images_per_class"]: own}
    for run in runs:
        group = made_of.get(run.set or "")
        is_ours = run.set != name and (run.arm, run.shots) == (primary.arm, primary.shots)
        if group and is_ours and _but_volume(group) == _but_volume(made_of[name]):
            cells.setdefault(group["images_per_class"], {})[run.seed] = run
    return cells


def _but_volume(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "images_per_class"}


def volume_sentence(
    steps: Sequence[VolumeStep], settings: ReportSettings, name: str, volume: int | None
) -> str:
    """Say whether more images of the primary set are worth drawing.

    Args:
        steps: from `volume_steps`.
        settings: of the report.
        name: of the primary set.
        volume: its images a class; None: not known.
    """
    if not steps:
        held = "" if volume is None else f" ({volume} images a class)"
        return (
            f"Not measured: {name} was tried in one volume{held}. A set that differs in its "
            "images_per_class alone shows here whether more would help."
        )
    last = steps[-1]
    said = (
        f"From {last.fewer} to {last.more} images a class the arm changes by "
        f"{interval_words(last.interval)} points"
    )
    if not last.interval.is_known:
        return f"{said}."
    if last.interval.low > 0:
        return f"{said}: it still rises there, so draw more."
    if last.interval.high < settings.smallest_gain:
        return (
            f"{said}: a gain of {settings.smallest_gain:g} or more is ruled out, so draw no more."
        )
    return f"{said}: these runs cannot tell whether more would help."


def settling_sentence(
    runs: Iterable[TestedModel], comparisons: Sequence[Comparison], settings: ReportSettings
) -> str | None:
    """Say what may settle a verdict that cannot tell; None where it told, or cannot be judged."""
    primary = settings.primary
    if primary is None or primary_verdict(comparisons, settings) != "cannot tell":
        return None
    rows = [row for row in primary_rows(comparisons, primary) if row is not None]
    if len(rows) < 2 or not all(row.interval.is_known for row in rows):
        return "Run what the verdict lacks, with three seeds or more ('seeds' in params.yaml)."
    runs = list(runs)
    known = [(row.interval, _axes(runs, row, settings)) for row in rows]
    for num_seeds in range(rows[0].interval.num_seeds + 1, MOST_SEEDS + 1):
        with_more = [_with_seeds(*one, num_seeds, settings.confidence) for one in known]
        word = judge(with_more[0], with_more[1], settings.smallest_gain)
        if word != "cannot tell":
            return (
                f"If both differences stay what they are, about {seeds_words(num_seeds)} give an "
                f"answer ('{word}'); they need not stay so. Set 'seeds' in params.yaml."
            )
    interval = rows[0].interval
    groups = "" if interval.num_groups is None else f" in {interval.num_groups} groups"
    return (
        f"More seeds alone are not likely to give an answer: {interval.num_images:,} test images"
        f"{groups} leave too much open. More test images may."
    )


def _axes(runs: list[TestedModel], row: Comparison, settings: ReportSettings) -> list[Axis]:
    """Return what seeds and test images each add to the variance of a comparison."""
    pairs = pairs_of(
        runs_of(runs, row.arm, row.method, row.shots),
        runs_of(runs, row.reference, row.reference_method, row.shots),
    )
    arm, reference = (np.stack([pair[side].correct for pair in pairs]) for side in (0, 1))
    first = pairs[0][0]
    weights = image_weights(first.labels, settings.measure)
    return seeds_and_groups(100 * (arm.astype(float) - reference), weights, first.groups)


def _with_seeds(
    interval: Interval, axes: Sequence[Axis], num_seeds: int, confidence: float
) -> Interval:
    """Return the interval that so many seeds would give, if all else stayed."""
    of_seeds, of_groups = axes
    fewer = of_seeds.variance * interval.num_seeds / num_seeds
    half = half_width([Axis(fewer, num_seeds - 1), of_groups], 1 - confidence)
    ends = (interval.difference - half, interval.difference + half)
    return Interval(interval.difference, *ends, 0.0, num_seeds, interval.num_images, None)
