"""Comparisons: every arm beside vanilla, and the sentence that each set deserves.

Many comparisons find something by chance. So one arm is primary, named in params.yaml before a
run; the verdicts speak of it alone, and every other interval is there to explore.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from synthbridge.evidence.marks import WARNING
from synthbridge.evidence.results import (
    CLIP_REFERENCE,
    CONTROL,
    REAL,
    REFERENCE,
    ZERO_SHOT,
    Shots,
    TestedModel,
    is_clip,
)
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.statistics import (
    Interval,
    Verdict,
    image_weights,
    paired_interval,
    verdict,
)

DASH = "\N{EN DASH}"  # on the page, for a value that is not there


@dataclass(frozen=True)
class Comparison:
    """An arm beside its reference at one shot count, on the seeds that both have."""

    dataset: str
    method: str
    arm: str
    reference: str
    shots: Shots
    interval: Interval
    arm_accuracy: float  # percent, over the paired seeds
    reference_accuracy: float  # percent
    arm_steps: float  # mean gradient steps
    reference_steps: float
    verdict: Verdict
    selected_on: str  # the split that selected the learning rate


def compare_runs(runs: list[TestedModel], settings: ReportSettings) -> list[Comparison]:
    """Compare each arm with vanilla, and the primary arm with vanilla at equal steps too.

    Arms on CLIP are compared with vanilla tuning of CLIP.
    """
    cells: dict[tuple[str, str, str, Shots], dict[int, TestedModel]] = defaultdict(dict)
    for run in runs:
        cells[run.dataset, run.method, run.arm, run.shots][run.seed] = run
    comparisons = []
    for (dataset, _, arm, shots), by_seed in cells.items():
        references = _references(arm, settings)
        for reference in references:
            beside = cells.get((dataset, REAL, reference, shots), {})
            seeds = sorted(by_seed.keys() & beside.keys())
            if seeds:
                pairs = [(by_seed[seed], beside[seed]) for seed in seeds]
                comparisons.append(_compare(pairs, settings))
    return comparisons


def _references(arm: str, settings: ReportSettings) -> list[str]:
    """List what an arm is compared with, on its own model; zero-shot CLIP with nothing."""
    if arm in (REFERENCE, CLIP_REFERENCE, ZERO_SHOT):
        return []
    if is_clip(arm):
        return [CLIP_REFERENCE]
    is_controlled = arm == settings.primary_arm and arm != CONTROL
    return [REFERENCE, CONTROL] if is_controlled else [REFERENCE]


def _compare(pairs: list[tuple[TestedModel, TestedModel]], settings: ReportSettings) -> Comparison:
    """Compare the runs of an arm with those of its reference, seed by seed."""
    arm, reference = pairs[0]
    interval = paired_interval(
        np.stack([run.correct for run, _ in pairs]),
        np.stack([run.correct for _, run in pairs]),
        image_weights(arm.labels, settings.measure),
        confidence=settings.confidence,
        num_resamples=settings.num_resamples,
        seed=settings.seed,
    )
    return Comparison(
        dataset=arm.dataset,
        method=arm.method,
        arm=arm.arm,
        reference=reference.arm,
        shots=arm.shots,
        interval=interval,
        arm_accuracy=float(np.mean([getattr(run, settings.measure) for run, _ in pairs])),
        reference_accuracy=float(np.mean([getattr(run, settings.measure) for _, run in pairs])),
        arm_steps=float(np.mean([run.gradient_steps for run, _ in pairs])),
        reference_steps=float(np.mean([run.gradient_steps for _, run in pairs])),
        verdict=verdict(interval, smallest_gain=settings.smallest_gain),
        selected_on=arm.selected_on,
    )


def shots_words(shots: Shots) -> str:
    """Say a shot count: "1 shot", "4 shots", "full data"."""
    if shots == "full":
        return "full data"
    return f"{shots} shot" if shots == 1 else f"{shots} shots"


def interval_words(interval: Interval) -> str:
    """Say a difference with its interval, in points: "+4.9 [+2.1, +7.7]"."""
    low, high = _points(interval.low), _points(interval.high)
    # The space in the brackets does not break over lines.
    return f"{_points(interval.difference)} [{low},\N{NO-BREAK SPACE}{high}]"


def spread_words(mean: float, spread: float | None, digits: int) -> str:
    """Say a mean with its spread: "61.0 ± 9.5"; without one where there is a single value."""
    text = f"{mean:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if spread is None or math.isnan(spread) else f"{text} ± {spread:.{digits}f}"


def _points(value: float) -> str:
    """Write with a sign; U+2212 is the minus that fonts draw as wide as a plus."""
    rounded = f"{value:+.1f}".replace("-0.0", "+0.0")
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


def verdict_sentence(
    dataset: str,
    method: str,
    comparisons: Iterable[Comparison],
    settings: ReportSettings,
    retrieved: Collection[str] = (),
) -> str:
    """Say in one sentence what the primary arm did with the images of one kind of set.

    Args:
        dataset: the real data set.
        method: names the sets, without their shots.
        comparisons: all of them; those of this data set, method and primary arm are used.
        settings: of the report.
        retrieved: the methods that are retrieved.
    """
    arm, images = settings.primary_arm, images_words(method, retrieved)
    wanted = (dataset, method, arm)
    rows = [row for row in comparisons if (row.dataset, row.method, row.arm) == wanted]
    beside_vanilla = [row for row in rows if row.reference == REFERENCE]
    if not beside_vanilla:
        return (
            f"With {images} on {dataset}: cannot tell, because {arm} (the primary arm) and "
            f"{REFERENCE} were not run with the same shots and seed."
        )
    openings = {
        "helps": f"{arm} helps:",
        "does not help": f"{arm} does not help:",
        "cannot tell at this size": f"cannot tell at this size whether {arm} helps:",
    }
    parts = []
    for answer, opening in openings.items():
        told = [row for row in beside_vanilla if row.verdict == answer]
        if told:
            parts.append(f"{opening} {_listed(told)}")
    beside_control = [row for row in rows if row.reference == CONTROL]
    if beside_control:
        parts.append(f"over {REFERENCE} at equal gradient steps: {_listed(beside_control)}")
    else:
        parts.append(f"{REFERENCE} at equal gradient steps was not run")
    meaning = f"points over {REFERENCE} [{100 * settings.confidence:g} % interval]"
    if any(row.selected_on == "test" for row in rows):
        meaning += f"; {WARNING}"
    return f"With {images} on {dataset}, {'; '.join(parts)} ({meaning})."


def _listed(rows: list[Comparison]) -> str:
    """Say each row's gain, interval and shots; a single seed is named as such."""
    words = []
    for row in rows:
        seeds = " from one seed" if row.interval.num_seeds == 1 else ""
        words.append(f"{interval_words(row.interval)} at {shots_words(row.shots)}{seeds}")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
