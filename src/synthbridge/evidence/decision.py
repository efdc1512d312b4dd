"""The top of the page: what came out, what to do now, what it cost, and what it looks like.

Written for whoever decides. Each number stands again, with how it was made, in the evidence below.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthbridge.data.keeping import part_words
from synthbridge.evidence.advice import (
    label_sentences,
    label_steps,
    settling_sentence,
    volume_sentence,
    volume_steps,
)
from synthbridge.evidence.classes import ClassChange, Pairs, flips, losers, winners
from synthbridge.evidence.comparisons import (
    DASH,
    Comparison,
    images_words,
    interval_words,
    p_words,
    points_words,
    seeds_words,
    shots_words,
)
from synthbridge.evidence.pictures import Pictures, data_uri, strip
from synthbridge.evidence.results import CONTROL, REAL, Shots, TestedModel
from synthbridge.evidence.settings import ReportSettings
from synthbridge.evidence.statistics import FEWEST_SEEDS, Interval
from synthbridge.evidence.verdict import Verdict, primary_rows, primary_verdict

NUM_CLASSES = 4  # that won, and that lost
NUM_FLIPS = 4  # test images of each
NUM_ROWS = 4  # classes whose real and drawn pictures stand at the top

FOLDER = "data/delivered/{}"  # of the model, as dvc.yaml names it

HEADLINES: dict[Verdict, str] = {
    "helps": "They help.",
    "small gain": "They help a little.",
    "explained by longer training": "Longer training explains what they bring.",
    "does not help": "They do not help.",
    "cannot tell": "Cannot tell whether they help.",
}
READS = {"top1": "of the test images", "mean_per_class": "of a class, on average over classes"}


@dataclass(frozen=True)
class Known:
    """What the top of the page is made from."""

    runs: list[TestedModel]
    comparisons: list[Comparison]
    settings: ReportSettings
    retrieved: Mapping[str, str]
    made_of: Mapping[str, Mapping[str, Any]]  # by set, its group in params.yaml
    delivered: Mapping[str, Any] | None  # what `deliver` chose; None: not known

    def primary_set(self) -> str | None:
        """Return the set of the comparison that makes the verdict; None: there is none."""
        primary = self.settings.primary
        if primary is None:
            return None
        cell = (primary.arm, primary.method, primary.shots)
        return next((r.set for r in self.runs if (r.arm, r.method, r.shots) == cell), None)

    def primary_images(self) -> str:
        """Name the images of that set, and the part of them that trains; "" of none."""
        primary = self.settings.primary
        if primary is None or primary.method == REAL:
            return ""
        group = self.made_of.get(self.primary_set() or "")
        part = part_words(group) if group else ""
        return images_words(primary.method, self.retrieved) + (part and f" ({part})")


def answer(known: Known) -> dict[str, Any] | None:
    """Return the verdict in words; None if nothing is judged."""
    word = primary_verdict(known.comparisons, known.settings)
    primary = known.settings.primary
    if word is None or primary is None:
        return None
    images = known.primary_images()
    where = f"{primary.arm} with {images}" if images else primary.arm
    return {
        "word": word,
        "headline": HEADLINES[word],
        "what": f"{where}, {_real_words(primary.shots)}",
        "sentence": _sentence(known, images),
    }


def _real_words(shots: Shots) -> str:
    """Say how many real images a run saw."""
    if shots == "full":
        return "all real training images"
    return f"{shots} real image{'s' * (shots != 1)} a class"


def _sentence(known: Known, images: str) -> str:
    """Say by how much, and how sure."""
    settings, primary = known.settings, known.settings.primary
    assert primary is not None
    reference, control = primary_rows(known.comparisons, primary)
    if reference is None:
        return f"{primary.reference} was not run with the same shots and seeds."
    with_images = f"With {images}, {primary.arm}" if images else primary.arm
    alone = reference.reference_accuracy
    said = (
        f"{with_images} reads {reference.arm_accuracy:.1f} % {READS[settings.measure]}; "
        f"{primary.reference}, on the same real images alone, {alone:.1f} %: "
        f"{_gain(reference.interval, settings)}."
    )
    if control is not None and primary.reference != CONTROL:
        said += (
            f" With as many gradient steps {primary.reference} reads "
            f"{control.reference_accuracy:.1f} %: {_gain(control.interval, settings)}."
        )
    else:
        said += " No run on real images alone took as many gradient steps."
    return f"{said} {_how_sure(reference.interval)}"


def _gain(interval: Interval, settings: ReportSettings) -> str:
    gain = f"{points_words(interval.difference)} points"
    if not interval.is_known:
        return f"{gain}, without an interval"
    low, high = points_words(interval.low), points_words(interval.high)
    return f"{gain}, {100 * settings.confidence:g} % interval {low} to {high}"


def _how_sure(interval: Interval) -> str:
    groups = "" if interval.num_groups is None else f" in {interval.num_groups} groups"
    tested = f"{interval.num_images:,} test images{groups}"
    if not interval.is_known:
        return f"{seeds_words(interval.num_seeds)}: an interval needs {FEWEST_SEEDS}. {tested}."
    return f"{seeds_words(interval.num_seeds)}, {tested}."


def next_steps(known: Known, dataset: str) -> list[dict[str, Any]]:
    """List what to do now: each with a heading and sentences."""
    primary = known.settings.primary
    steps = []
    if known.delivered is not None:
        use = {"heading": "Use the model", "sentences": _use(known, dataset)}
        steps.append(
            {**use, "command": f"python src predict PHOTOS --model {FOLDER.format(dataset)}"}
        )
    if settling := settling_sentence(known.runs, known.comparisons, known.settings):
        steps.append({"heading": "Make sure", "sentences": [settling], "command": None})
    name = known.primary_set()
    if primary is not None and name is not None and primary.method not in known.retrieved:
        volumes = volume_steps(known.runs, known.settings, known.made_of)
        volume = known.made_of.get(name, {}).get("images_per_class")
        sentence = volume_sentence(volumes, known.settings, name, volume)
        more = f"{primary.method}_more" + name.removeprefix(primary.method)
        command = None if volumes else f"python src sets add {more} --like {name}"
        steps.append({"heading": "Draw more?", "sentences": [sentence], "command": command})
    sentences = label_sentences(label_steps(known.runs, known.settings), primary)
    steps.append({"heading": "Label more?", "sentences": sentences, "command": None})
    return steps


def _use(known: Known, dataset: str) -> list[str]:
    """Say which model was delivered, where it lies and what it reads."""
    choice = known.delivered
    assert choice is not None
    test, others = choice["test"], len(choice["candidates"]) - 1
    made = f"{choice['arm']}, {choice['set'] or 'real images alone'}"
    many = choice["num_members"]
    what = f"{many} models together" if many > 1 else "one model"
    sentences = [
        f"{FOLDER.format(dataset)} holds {what} ({made}, {shots_words(choice['shots'])}), chosen "
        f"on {choice['num_held_out']:,} held-out training images. It reads "
        f"{test['accuracy']:.1f} % {READS[choice['measure']]} (interval over the choice of test "
        f"images {test['low']:.1f} to {test['high']:.1f})."
    ]
    if many == 1 and len(choice["seeds"]) > 1:
        sentences.append(
            f"It is the seed that is the median on held-out images; on average over "
            f"{len(choice['seeds'])} seeds, {test['mean_over_seeds']:.1f} % are read."
        )
    if others and choice["num_close"]:
        sentences.append(
            f"Of {others} other candidates the held-out images cannot tell {choice['num_close']} "
            "from it."
        )
    return sentences


def label_rows(known: Known) -> list[dict[str, str]]:
    """Return a row a pair of neighbouring numbers of shots."""
    return [
        {
            "step": f"{shots_words(step.shots)} to {shots_words(step.more)}",
            "images": f"{step.num_images:,.0f}",
            "labels": interval_words(step.labels),
            "each": _each(step.labels, step.num_images),
            "drawn": DASH if step.drawn is None else interval_words(step.drawn),
            "instead": DASH if step.instead is None else interval_words(step.instead),
        }
        for step in label_steps(known.runs, known.settings)
    ]


def _each(interval: Interval, num_images: float) -> str:
    """Say a difference for each of so many images."""
    if num_images <= 0:
        return DASH
    each = points_words(interval.difference / num_images, 2)
    if not interval.is_known:
        return each
    low, high = (points_words(end / num_images, 2) for end in (interval.low, interval.high))
    return f"{each} [{low},\N{NO-BREAK SPACE}{high}]"


def side_by_side(pictures: Pictures, name: str | None) -> list[dict[str, Any]]:
    """Return rows of real and drawn pictures of a few classes; nothing without both."""
    drawn = name if name in pictures.tiles else next((n for n in pictures.tiles if n != "real"), "")
    if not drawn or "real" not in pictures.tiles:
        return []
    num_rows = len(pictures.labels)
    rows = np.linspace(0, num_rows - 1, min(NUM_ROWS, num_rows)).round().astype(int).tolist()
    return [
        {
            "class": pictures.row_names[row],
            "drawn": drawn,
            "images": [
                {"alt": f"{set_name} images of {pictures.row_names[row]}", "src": data_uri(tiles)}
                for set_name in ("real", drawn)
                for tiles in [strip(pictures.tiles[set_name][row])]
            ],
        }
        for row in rows
    ]


def changed_classes(
    known: Known, pairs: Pairs, changes: Sequence[ClassChange], pictures: Pictures
) -> dict[str, Any]:
    """Return the classes that won and lost most, with test images whose answer changed."""
    sides = {"won": winners(changes, NUM_CLASSES), "lost": losers(changes, NUM_CLASSES)}
    shown = {
        name: [_changed(known, pairs, change, pictures) for change in found]
        for name, found in sides.items()
    }
    has_flips = any(row["flips"] for rows in shown.values() for row in rows)
    return {"num_classes": len(changes), "has_flips": has_flips, **shown}


def _changed(known: Known, pairs: Pairs, change: ClassChange, pictures: Pictures) -> dict[str, Any]:
    names = pictures.class_names
    found = flips(pairs, change, NUM_FLIPS) if pictures.test else []
    primary = known.settings.primary
    assert primary is not None
    return {
        "class": names[change.label],
        "accuracies": f"{change.reference_accuracy:.0f} % \N{RIGHTWARDS ARROW} "
        f"{change.arm_accuracy:.0f} %",
        "difference": class_interval_words(change),
        "p_holm": p_words(change.p_holm),
        "is_sure": change.p_holm < 1 - known.settings.confidence,
        "num_test": f"{change.num_test:,}",
        "flips": [
            {
                "src": data_uri(pictures.test_tile(flip.index)),
                "alt": f"a test image of {names[change.label]}: {names[flip.before]} by "
                f"{flip.num_before} of {len(pairs)} models of {primary.reference}, "
                f"{names[flip.after]} by {flip.num_after} of {primary.arm}",
                "before": names[flip.before],
                "after": names[flip.after],
            }
            for flip in found
        ],
    }


def class_interval_words(change: ClassChange) -> str:
    """Say what a class gained, in points, with its interval where it has one."""
    gain = points_words(change.difference)
    if math.isnan(change.low):
        return gain
    return f"{gain} [{points_words(change.low)},\N{NO-BREAK SPACE}{points_words(change.high)}]"
