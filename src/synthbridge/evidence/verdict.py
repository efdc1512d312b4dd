"""The verdict: one word for the primary comparison, from a closed set (docs/evidence.md).

It needs two intervals: over the reference, and over vanilla at equal gradient steps. "Helps" claims
both gains at once, so it errs only where one of the two intervals does, and neither has to be wider
(an intersection-union test, Berger 1982).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, get_args

from synthbridge.evidence.comparisons import (
    Comparison,
    images_words,
    interval_words,
    seeds_words,
    shots_words,
)
from synthbridge.evidence.marks import WARNING
from synthbridge.evidence.results import CONTROL, REAL, REFERENCE
from synthbridge.evidence.settings import PrimaryComparison, ReportSettings
from synthbridge.evidence.statistics import FEWEST_SEEDS, Interval

Verdict = Literal[
    "helps", "small gain", "explained by longer training", "does not help", "cannot tell"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
OPENINGS: dict[Verdict, str] = {
    "helps": "{arm} helps",
    "small gain": "{arm} gives a small gain",
    "explained by longer training": "what {arm} gains is explained by longer training",
    "does not help": "{arm} does not help",
    "cannot tell": "cannot tell whether {arm} helps",
}
CONTROL_WORDS = f"{REFERENCE} at equal gradient steps"


def judge(reference: Interval | None, control: Interval | None, smallest_gain: float) -> Verdict:
    """Judge by the intervals over the reference and over vanilla at equal gradient steps.

    Args:
        reference: None where it was not run.
        control: likewise.
        smallest_gain: in points; a gain below it is small.
    """
    if reference is None or control is None or not (reference.is_known and control.is_known):
        return "cannot tell"
    if reference.low > 0 and control.low > 0:
        is_large = min(reference.difference, control.difference) >= smallest_gain
        return "helps" if is_large else "small gain"
    if reference.low > 0 and control.high < smallest_gain:
        return "explained by longer training"
    if min(reference.high, control.high) < smallest_gain:
        return "does not help"
    return "cannot tell"


def primary_rows(
    comparisons: Iterable[Comparison], primary: PrimaryComparison
) -> tuple[Comparison | None, Comparison | None]:
    """Return the primary comparisons with the reference and with vanilla at equal steps."""
    rows = {row.reference: row for row in comparisons if row.is_primary}
    return rows.get(primary.reference), rows.get(CONTROL)


def primary_verdict(comparisons: Iterable[Comparison], settings: ReportSettings) -> Verdict | None:
    """Judge the primary comparison; None if none is named."""
    if settings.primary is None:
        return None
    intervals = [row and row.interval for row in primary_rows(comparisons, settings.primary)]
    return judge(*intervals, smallest_gain=settings.smallest_gain)


def verdict_sentence(
    dataset: str,
    comparisons: Sequence[Comparison],
    settings: ReportSettings,
    retrieved: Collection[str] = (),
    images: str | None = None,
) -> str:
    """Say in one sentence what came of the primary comparison.

    Args:
        dataset: the real data set.
        comparisons: all of them.
        settings: of the report.
        retrieved: the methods that are retrieved.
        images: the words for the images of the comparison; None: what its method is called.
    """
    primary, answer = settings.primary, primary_verdict(comparisons, settings)
    if primary is None or answer is None:
        return f"No verdict on {dataset}: report.primary names no comparison."
    if images is None:
        images = "" if primary.method == REAL else images_words(primary.method, retrieved)
    opening = f"{images and f'with {images} '}at {shots_words(primary.shots)} on {dataset}, "
    opening = f"{opening[0].upper()}{opening[1:]}{OPENINGS[answer].format(arm=primary.arm)}"
    rows = primary_rows(comparisons, primary)
    names = (primary.reference, CONTROL_WORDS)
    missing = [name for row, name in zip(rows, names, strict=True) if row is None]
    if missing:
        return (
            f"{opening}: {' and '.join(missing)} {'have' if len(missing) > 1 else 'has'} no run "
            "with the same shots, seeds and, for the control, gradient steps."
        )
    found = [row for row in rows if row is not None]
    few = min(row.interval.num_seeds for row in found)
    if few < FEWEST_SEEDS:
        return f"{opening}: {seeds_words(few)}; at least three are needed."
    parts = [
        f"{interval_words(row.interval)} over {name}"
        for row, name in zip(found, names, strict=True)
    ]
    return f"{opening}: {' and '.join(parts)} ({_meaning(found, settings)})."


def _meaning(rows: Sequence[Comparison], settings: ReportSettings) -> str:
    """Say what the numbers of a sentence are."""
    interval = rows[0].interval
    groups = "" if interval.num_groups is None else f" in {interval.num_groups} groups"
    meaning = (
        f"points with {100 * settings.confidence:g} % intervals, "
        f"{seeds_words(min(row.interval.num_seeds for row in rows))}, "
        f"{interval.num_images:,} test images{groups}"
    )
    return f"{meaning}; {WARNING}" if rows[0].selected_on == "test" else meaning


def underfit_sentences(comparisons: Iterable[Comparison]) -> list[str]:
    """Say where vanilla's interval over fewer gradient steps excludes 0: too few epochs."""
    sentences = []
    for row in comparisons:
        if (row.arm, row.reference) == (CONTROL, REFERENCE) and row.interval.low > 0:
            key = "num_epochs" if row.shots == "full" else "num_epochs_few_shot"
            sentences.append(
                f"At {shots_words(row.shots)} on {row.dataset}, the epochs may be too few "
                f"(real_leg.{key}): {row.arm_steps:,.0f} gradient steps instead of "
                f"{row.reference_steps:,.0f} give {REFERENCE} {interval_words(row.interval)} "
                f"points, and a gain over {REFERENCE} holds this one too."
            )
    return sentences
