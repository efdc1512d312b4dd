"""Stage `sift`: which of a drawn set's images train, where a classifier or chance decides it.

A set with `select: entropy` keeps of each class the images of which a classifier is least sure
(Deliberate Practice, arXiv:2502.15588; its learner asks for such images while they are drawn, ours
picks them from what is drawn). The classifier is a stage-one model that has trained on a random
part of the same images, as many as will be kept. `select: random` keeps that part: the control. No
real image is looked at. Of all other sets nothing is decided here: `examine` keeps what CLIP finds
best, or all.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbridge.core.files import hash_folder, hash_value, read_json, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, say
from synthbridge.core.settings import Sections
from synthbridge.core.shares import end_share
from synthbridge.core.units import unit_path
from synthbridge.data.keeping import keep_best
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import (
    block_folders,
    hash_samples,
    seed_of_subset,
    set_samples,
    subset_of,
)
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.training.settings import StageOneSettings, TrainingSettings

if TYPE_CHECKING:  # most sets ask for no classifier, and it takes seconds to import
    from synthbridge.training.uncertainty import Scoring

DIGITS = 4


@dataclass(frozen=True)
class SiftParams:
    """What the stage reads of params.yaml."""

    synthetic: SyntheticSettings | None  # of the set; None: it is retrieved
    training: TrainingSettings
    stage_one: Mapping[str, StageOneSettings]


def sift(
    params: SiftParams, *, real: Path, blocks: Sequence[Path], backbone: Path, out: Path
) -> None:
    """Write which images of a set train to `out`: {keys: null, or a list}.

    Args:
        params: settings.
        real: the prepared data set, for the number of its classes and whether it is mirrored.
        blocks: the set's folders of shards.
        backbone: what the classifier starts from.
        out: the file.
    """
    settings = params.synthetic
    if settings is None or settings.scored_by is None:
        end_share()  # no unit to share: the run without a share decides
    if settings is None or settings.select == "clip":
        write_json(out, {"keys": None})
        say("sift: nothing to decide for this set")
        return
    images = set_samples(blocks)
    log = StageLog("sift", f"choosing among {len(images)} images ({settings.select})")
    scores = chances(images)
    facts: dict[str, Any] = {"select": settings.select, "num_drawn": len(images)}
    if settings.select == "entropy":
        learned = _keep(images, scores, settings)
        scores, of_scorers = _ask(params, images, learned, real, backbone, log)
        facts |= of_scorers
    kept = _keep(images, scores, settings)
    if settings.select == "entropy":
        facts |= {"entropy": _round(scores.mean()), "entropy_kept": _round(scores[kept].mean())}
    keys = sorted(image.key for image, keep in zip(images, kept, strict=True) if keep)
    write_json(out, {**facts, "keys": keys})
    log.done(f"a choice of {len(keys)} of {len(images)} images", out)


def chances(images: Sequence[Sample]) -> np.ndarray:
    """Draw a number in 0..1 for each image, (N,): from the seed of its subset.

    The blocks of a set come in order, so that more of them change no earlier number.
    """
    drawn = np.empty(len(images))
    for subset, rows in _by_subset(images).items():
        drawn[rows] = np.random.default_rng(seed_of_subset(subset)).random(len(rows))
    return drawn


def _by_subset(images: Sequence[Sample]) -> dict[str, list[int]]:
    """Return the rows of each subset, which is what a run sees."""
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        rows.setdefault(subset_of(image), []).append(row)
    return rows


def _keep(images: Sequence[Sample], scores: np.ndarray, settings: SyntheticSettings) -> np.ndarray:
    """Say which images have the highest scores of their class and subset, (N,) bool."""
    groups = [(subset_of(image), image.label) for image in images]
    return keep_best(scores, groups, settings.keep_fraction, settings.cap)


def _ask(
    params: SiftParams,
    images: Sequence[Sample],
    learned: np.ndarray,
    real: Path,
    backbone: Path,
    log: StageLog,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train a classifier for each subset on what is `learned` (N,) of it, and ask it about all.

    Returns:
        The entropies (N,), and how often the classifiers are right, on average.
    """
    from synthbridge.core.processes import start_accelerator
    from synthbridge.training.sharing import share_trainings
    from synthbridge.training.uncertainty import ENTROPIES, RECORD, Scorer

    dataset = read_dataset(real)
    by_subset = _by_subset(images)
    start = hash_folder(backbone)
    scorings = [
        _plan(params, dataset, start, subset, [images[row] for row in rows], learned[rows])
        for subset, rows in by_subset.items()
    ]
    with start_accelerator() as accelerator:
        scorer = None
        for scoring, team in share_trainings(
            accelerator, scorings, what="training to choose", unit="model", log=log, params=params
        ):
            scorer = scorer or Scorer(params.training, dataset, backbone, team)
            scorer.make(scoring)
    entropies = np.empty(len(images))
    for scoring, rows in zip(scorings, by_subset.values(), strict=True):
        entropies[rows] = np.load(scoring.path / ENTROPIES, allow_pickle=False)
    accuracies = [read_json(scoring.path / RECORD)["accuracy"] for scoring in scorings]
    return entropies, {"scorer_accuracy": _round(np.mean(accuracies))}


def _plan(
    params: SiftParams,
    dataset: PreparedDataset,
    start: str,
    subset: str,
    judged: list[Sample],
    is_learned: np.ndarray,
) -> "Scoring":
    """Say how the classifier of a subset is trained, and where its findings lie."""
    from synthbridge.training.loop import Leg
    from synthbridge.training.uncertainty import Scorer, Scoring

    assert params.synthetic and params.synthetic.scored_by
    settings = params.stage_one[params.synthetic.scored_by]
    num_classes = len(dataset.class_names)
    leg = Leg(
        num_steps=settings.steps(num_classes, params.training.batch_size),
        learning_rate=settings.learning_rate,
        seed=seed_of_subset(subset),
        mixup=settings.mixup,
    )
    learned = [image for image, keep in zip(judged, is_learned, strict=True) if keep]
    key = unit_key(
        make=Scorer.make,
        leg=[leg.num_steps, leg.learning_rate, leg.seed, leg.mixup],
        training=params.training.model_dump(),
        backbone=start,
        classes=[num_classes, dataset.flip],
        images=[hash_value(hash_samples(judged)), [image.key for image in learned]],
    )
    return Scoring(learned, judged, leg, unit_path("sift", key))


def _round(value: Any) -> float:
    return round(float(value), DIGITS)


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="sift", description=__doc__)
    parser.add_argument("--set", required=True, help="a name of `sets` in params.yaml")
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, help="the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    synthetic = None
    if args.set in sections.read(list[str], "generated_sets"):
        synthetic = sections.read(SyntheticSettings, f"synthetic.{args.set}")
    sift(
        SiftParams(
            synthetic=synthetic,
            training=sections.read(TrainingSettings, "training"),
            stage_one=sections.read(dict[str, StageOneSettings], "stage_one"),
        ),
        real=args.real,
        blocks=block_folders(args.blocks, args.num_blocks),
        backbone=args.backbone,
        out=args.out,
    )
