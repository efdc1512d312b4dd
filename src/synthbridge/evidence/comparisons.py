"""Comparisons: pairs of arms on the same seeds and test images.

Many comparisons find something by chance. So one is primary, named in params.yaml, and the verdict
(verdict.py) speaks of it alone. All others are there to explore: beside its own p-value each has
one that is adjusted for their number.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthbridge.evidence.results import (
    BRIDGED,
    CLIP_REFERENCE,
    CONTROL,
    MIXED,
    REAL,
    REFERENCE,
    TEMPLATE,
    ZERO_SHOT,
    Shots,
    TestedModel,
    is_clip,
)
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.statistics import Interval, holm, image_weights, paired_interval

DASH = "\N{EN DASH}"  # on the page, for a value that is not there
EQUAL_STEPS = 0.01  # relative: gradient steps that differ by less count as equal

BySeed = dict[int, TestedModel]
Cells = dict[tuple[str, str, Shots], BySeed]  # by arm, method, shots


@dataclass(frozen=True)
class Comparison:
    """An arm beside its reference at one shot count, on the seeds that both have."""

    dataset: str
    method: str
    arm: str
    reference: str
    reference_method: str
    shots: Shots
    interval: Interval
    arm_accuracy: float  # percent, over the paired seeds
    reference_accuracy: float  # percent
    arm_steps: float  # mean gradient steps
    reference_steps: float
    selected_on: str  # the split that selected the learning rate
    is_primary: bool  # one of the two that make the verdict
    p_holm: float = math.nan  # adjusted for all that explore; NaN for the primary ones

    @property
    def against(self) -> str:
        """Name the reference, with its images where it has some."""
        if self.reference_method == REAL:
            return self.reference
        return f"{self.reference} · {self.reference_method}"

    def is_sure(self, confidence: float) -> bool:
        """Say whether a difference is set in bold: its p-value is below 1 - `confidence`.

        An exploratory comparison's is the adjusted one.
        """
        return (self.interval.p_value if self.is_primary else self.p_holm) < 1 - confidence


def compare_runs(
    runs: list[TestedModel], settings: ReportSettings, retrieved: Collection[str] = ()
) -> list[Comparison]:
    """Compare each arm of one data set with all that a reader would set beside it.

    Args:
        runs: of one data set.
        settings: of the report.
        retrieved: the methods that are retrieved; the other ones are drawn.
    """
    cells: Cells = defaultdict(dict)
    for run in runs:
        cells[run.arm, run.method, run.shots][run.seed] = run
    rows = []
    for arm, method, shots in list(cells):
        for reference, of in _references(arm, method, cells, settings, retrieved):
            pairs = pairs_of(cells[arm, method, shots], cells.get((reference, of, shots), {}))
            if pairs and (reference != CONTROL or _are_equally_long(pairs)):
                rows.append(_compare(pairs, settings))
    return _adjusted(rows)


def _references(
    arm: str, method: str, cells: Cells, settings: ReportSettings, retrieved: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the arms and methods that an arm is compared with, on its own model.

    Vanilla; vanilla at equal gradient steps; the same arm with template images and, if it is drawn,
    with retrieved ones; bridged also mixed, with the same images. Zero-shot CLIP: nothing.
    """
    if arm in (REFERENCE, CLIP_REFERENCE, ZERO_SHOT):
        return
    if is_clip(arm):
        yield CLIP_REFERENCE, REAL
        return
    yield REFERENCE, REAL
    if arm != CONTROL:
        yield CONTROL, REAL
    primary = settings.primary
    if primary and (arm, method) == (primary.arm, primary.method):
        yield from ((of, REAL) for of in (primary.reference,) if of != REFERENCE)
    if method == REAL:
        return
    if arm == BRIDGED:
        yield MIXED, method
    if method not in retrieved:
        methods = dict.fromkeys(of for _, of, _ in cells)
        yield from ((arm, of) for of in methods if of != method and of in (TEMPLATE, *retrieved))


def runs_of(runs: Iterable[TestedModel], arm: str, method: str, shots: Shots) -> BySeed:
    """Return the runs of one cell by their seeds."""
    cell = (arm, method, shots)
    return {run.seed: run for run in runs if (run.arm, run.method, run.shots) == cell}


def pairs_of(arm: BySeed, reference: BySeed) -> list[tuple[TestedModel, TestedModel]]:
    """Pair the runs of two cells on the seeds that both have."""
    return [(arm[seed], reference[seed]) for seed in sorted(arm.keys() & reference.keys())]


def _are_equally_long(pairs: list[tuple[TestedModel, TestedModel]]) -> bool:
    """Say whether both arms took as many gradient steps: only then it is a control of the other."""
    steps, other_steps = _mean_steps(pairs)
    return math.isclose(steps, other_steps, rel_tol=EQUAL_STEPS)


def _mean_steps(pairs: list[tuple[TestedModel, TestedModel]]) -> tuple[float, float]:
    steps = np.array([[run.gradient_steps for run in pair] for pair in pairs]).mean(axis=0)
    return float(steps[0]), float(steps[1])


def interval_of(
    pairs: Sequence[tuple[TestedModel, TestedModel]], settings: ReportSettings
) -> Interval:
    """Return the difference of the first runs of `pairs` to the second ones."""
    arm, _ = pairs[0]
    return paired_interval(
        np.stack([run.correct for run, _ in pairs]),
        np.stack([run.correct for _, run in pairs]),
        image_weights(arm.labels, settings.measure),
        groups=arm.groups,
        confidence=settings.confidence,
    )


def _compare(pairs: list[tuple[TestedModel, TestedModel]], settings: ReportSettings) -> Comparison:
    """Compare the runs of an arm with those of its reference, seed by seed."""
    arm, reference = pairs[0]
    interval = interval_of(pairs, settings)
    steps, reference_steps = _mean_steps(pairs)
    return Comparison(
        dataset=arm.dataset,
        method=arm.method,
        arm=arm.arm,
        reference=reference.arm,
        reference_method=reference.method,
        shots=arm.shots,
        interval=interval,
        arm_accuracy=float(np.mean([getattr(run, settings.measure) for run, _ in pairs])),
        reference_accuracy=float(np.mean([getattr(run, settings.measure) for _, run in pairs])),
        arm_steps=steps,
        reference_steps=reference_steps,
        selected_on=arm.selected_on,
        is_primary=_is_primary(arm, reference, settings),
    )


def _is_primary(arm: TestedModel, reference: TestedModel, settings: ReportSettings) -> bool:
    """Say whether the verdict is made of a comparison: with the named reference or the control."""
    primary = settings.primary
    return (
        primary is not None
        and (arm.arm, arm.method, arm.shots) == (primary.arm, primary.method, primary.shots)
        and reference.method == REAL
        and reference.arm in (primary.reference, CONTROL)
    )


def _adjusted(rows: list[Comparison]) -> list[Comparison]:
    """Give every exploratory comparison its adjusted p-value."""
    exploring = [row for row in rows if not row.is_primary]
    adjusted = dict(
        zip(map(id, exploring), holm([row.interval.p_value for row in exploring]), strict=True)
    )
    return [replace(row, p_holm=adjusted.get(id(row), math.nan)) for row in rows]


def shots_words(shots: Shots) -> str:
    """Say a shot count: "1 shot", "4 shots", "full data"."""
    if shots == "full":
        return "full data"
    return f"{shots} shot" if shots == 1 else f"{shots} shots"


def interval_words(interval: Interval) -> str:
    """Say a difference with its interval, in points: "+4.9 [+2.1, +7.7]"."""
    if not interval.is_known:
        return f"{points_words(interval.difference)} (no interval)"
    low, high = points_words(interval.low), points_words(interval.high)
    # The space in the brackets does not break over lines.
    return f"{points_words(interval.difference)} [{low},\N{NO-BREAK SPACE}{high}]"


def spread_words(mean: float, spread: float | None, digits: int) -> str:
    """Say a mean with its spread: "61.0 ± 9.5"; without one where there is a single value."""
    text = f"{mean:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if spread is None or math.isnan(spread) else f"{text} ± {spread:.{digits}f}"


def p_words(p_value: float) -> str:
    """Say a p-value: "0.031", "< 0.001"; a dash where there is none."""
    if math.isnan(p_value):
        return DASH
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def seeds_words(num: int) -> str:
    """Say a number of seeds: "1 seed", "8 seeds"."""
    return "1 seed" if num == 1 else f"{num} seeds"


def points_words(value: float, digits: int = 1) -> str:
    """Say points with their sign; U+2212 is the minus that fonts draw as wide as a plus."""
    rounded = f"{value:+.{digits}f}"
    if not float(rounded):
        rounded = rounded.replace("-", "+")
    return rounded.replace("-", "\N{MINUS SIGN}")


def images_words(method: str, retrieved: Collection[str]) -> str:
    """Say which images: "dsi images", "retrieved images", "retrieved images (pool_2)".

    Args:
        method: names sets, without their shots.
        retrieved: those methods that are retrieved; the others are synthetic.
    """
    if method not in retrieved:
        return f"{method} images"
    return "retrieved images" if method == "retrieved" else f"retrieved images ({method})"
