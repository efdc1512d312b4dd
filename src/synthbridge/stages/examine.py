"""Stage `examine`: a set beside the real images, in CLIP's image space, before anything trains.

Which of its images train (what `sift` has chosen, or the CLIP filter), which look like test images
(leakage), and how far the set as a whole lies from the real training images (the gap). Test images
are read only to find them again in the set; no choice depends on them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.clip.class_scores import class_vectors
from synthbridge.clip.embedding import load_clip
from synthbridge.clip.near_duplicates import MAX_PAIRS, near_duplicates, nearest_references
from synthbridge.clip.shard_embeddings import embed_shards
from synthbridge.core.files import hash_folder, read_json, whole_file, write_json
from synthbridge.core.log import StageLog, say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.data.keeping import keep_best
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import Sample, encode_png, index_shard, read_square
from synthbridge.data.synthetic import block_folders, set_samples, subset_of
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.evidence.gap import describe_gap, mean_gap
from synthbridge.evidence.settings import ExamineSettings
from synthbridge.prompts.templates import TEMPLATES

NUM_PICTURES = 16  # of the pairs of images that are most alike
TILE = 64  # pixels: the side of a picture
SURENESS = ("entropy", "entropy_kept", "scorer_accuracy")  # what `sift` says of a classifier


@dataclass(frozen=True)
class ExamineParams:
    """What the stage reads of params.yaml."""

    examine: ExamineSettings
    keep_fraction: float  # of each class's images, the best that train; 1: all
    cap: int | None  # and at most so many of each class; None: no limit
    clip_name: str  # what the findings call the CLIP
    select: str = "clip"  # what keeps them; but for clip, `sift` has done so


@dataclass(frozen=True)
class Embedded:
    """Images and their embeddings."""

    samples: list[Sample]
    vectors: np.ndarray  # (N, D) unit vectors

    def where(self, chosen: np.ndarray) -> "Embedded":
        """Return the images that `chosen` (N,) bool names."""
        samples = [sample for sample, keep in zip(self.samples, chosen, strict=True) if keep]
        return Embedded(samples, self.vectors[chosen])


def examine(
    params: ExamineParams,
    *,
    real: Path,
    blocks: Sequence[Path],
    clip: Path,
    out: Path,
    metric: Path,
    sifted: Path | None = None,
) -> None:
    """Examine one set.

    Args:
        params: settings.
        real: the prepared data set; an extra test set counts as test images.
        blocks: the set's folders of shards.
        clip: whose image space it is.
        out: the folder to fill: kept.json and findings/{leakage.json, pairs.png, gap.json}.
        metric: a JSON file with the numbers in short.
        sifted: what `sift` has chosen; None: nothing.

    Raises:
        ValueError: if there is no CLIP or no image.
    """
    images = set_samples(blocks)
    log = StageLog("examine", f"{len(images)} images of a set beside the real ones")
    dataset = read_dataset(real)
    judged = [*dataset.samples("test"), *dataset.extra_test_samples()]
    splits = {"set": images, "train": dataset.samples("train"), "test": judged}
    with start_accelerator() as accelerator:
        shards = list(dict.fromkeys(s.shard for split in splits.values() for s in split))
        load = cache(partial(load_clip, clip, accelerator.device))
        vectors = embed_shards(load, hash_folder(clip), shards)
        own, train, test = (_embedded(samples, vectors) for samples in splits.values())
        scores = _score(own, class_vectors(load(), dataset.class_names, TEMPLATES))
        sifting = read_json(sifted) if sifted else {"keys": None}
        kept = _filter(own, scores, params, sifting["keys"])
        keys = None if kept.all() else sorted(sample.key for sample in own.where(kept).samples)
        write_json(out / "kept.json", {"keep_fraction": params.keep_fraction, "keys": keys})
        own, scores = own.where(kept), scores[kept]
        leakage = describe_leakage(own, train, test, params.examine.threshold)
        write_json(out / "findings" / "leakage.json", leakage)
        _draw_pairs(own, test, out / "findings" / "pairs.png")
        gap = _describe_gaps(own, scores, train, dataset.class_names, params.examine)
        fraction = round(float(kept.mean()), 4)
        gap = {**gap, "clip": params.clip_name, "kept_fraction": fraction}
        if not kept.all():
            gap |= {"num_drawn": len(images), "select": params.select}
        write_json(out / "findings" / "gap.json", gap)
        sure = {name: sifting[name] for name in SURENESS if name in sifting}
        # A row: of a list DVC shows nothing beside the headline figures (data/run_metrics.py).
        row = {"kept_fraction": fraction, **sure, **_numbers(leakage), **gap["mean"]}
        write_json(metric, [row])
    found, total = leakage["num_near_duplicates"], leakage["num_images"]
    say(f"  {found} of {total} images are near-duplicates of a test image")
    log.done("kept images, near-duplicates and gap", out)


def _embedded(samples: list[Sample], vectors: dict[Path, np.ndarray]) -> Embedded:
    """Put samples, which are all of their shards, together with their embeddings."""
    shards = dict.fromkeys(sample.shard for sample in samples)
    assert len(samples) == sum(len(index_shard(shard)) for shard in shards)
    return Embedded(samples, np.concatenate([vectors[shard] for shard in shards]))


def _score(own: Embedded, classes: np.ndarray) -> np.ndarray:
    """Return each image's CLIP score, (N,): its cosine to its class's templates, `classes`."""
    labels = [sample.label for sample in own.samples]
    return np.einsum("nd,nd->n", own.vectors, classes[labels])


def _filter(
    own: Embedded, scores: np.ndarray, params: ExamineParams, chosen: list[str] | None
) -> np.ndarray:
    """Say which images train, (N,) bool: those `chosen`, or the best of each class and subset."""
    if chosen is not None:
        keys = set(chosen)
        return np.array([sample.key in keys for sample in own.samples])
    if params.keep_fraction == 1 and params.cap is None:
        return np.ones(len(own.samples), bool)
    groups = [(subset_of(sample), sample.label) for sample in own.samples]
    return keep_best(scores, groups, params.keep_fraction, params.cap)


def describe_leakage(
    own: Embedded, train: Embedded, test: Embedded, threshold: float
) -> dict[str, Any]:
    """Say which images of a set look like a test image, and how many real training images do."""
    pairs = near_duplicates(own.vectors, test.vectors, threshold)
    of_train = near_duplicates(train.vectors, test.vectors, threshold)

    def count(found: list, images: Embedded) -> dict[str, Any]:
        number = len({pair.query for pair in found})
        fraction = round(number / len(images.samples), 6)
        return {
            "num_images": len(images.samples),
            "num_near_duplicates": number,
            "fraction": fraction,
        }

    return {
        "threshold": threshold,
        **count(pairs, own),
        "real_train": count(of_train, train),
        "pairs": [
            {
                "image": _name(own.samples[pair.query]),
                "test_image": test.samples[pair.reference].record["name"],
                "similarity": round(pair.similarity, 4),
            }
            for pair in pairs[:MAX_PAIRS]
        ],
    }


def _name(sample: Sample) -> str:
    """Name an image of a set: BLOCK/KEY."""
    return f"{sample.shard.parent.name}/{sample.key}"


def _draw_pairs(own: Embedded, test: Embedded, path: Path) -> None:
    """Draw the pairs most alike, threshold or not: the set's images above, the test's below.

    An image of the set stands in one pair only, with the nearest test image.
    """
    nearest = nearest_references(own.vectors, test.vectors)
    cosines = np.einsum("nd,nd->n", own.vectors, test.vectors[nearest])
    best = np.argsort(-cosines, kind="stable")[:NUM_PICTURES]
    rows = [
        np.concatenate([read_square(images.samples[index], TILE) for index in indices], axis=1)
        for images, indices in ((own, best), (test, nearest[best]))
    ]
    with whole_file(path) as partial:
        partial.write_bytes(encode_png(np.concatenate(rows)))


def _describe_gaps(
    own: Embedded,
    scores: np.ndarray,
    train: Embedded,
    class_names: Sequence[str],
    settings: ExamineSettings,
) -> dict[str, Any]:
    """Measure the gap of each subset, which is what a run sees, and its mean over subsets.

    Each class has the mean CLIP score of its images beside its gap.
    """
    # KID's kernel expects features of mean square 1; the others do not mind the scale.
    scale = own.vectors.shape[1] ** 0.5
    real_labels = np.array([sample.label for sample in train.samples])
    subsets = {}
    for subset in dict.fromkeys(subset_of(sample) for sample in own.samples):
        inside = np.array([subset_of(sample) == subset for sample in own.samples])
        images = own.where(inside)
        labels = np.array([sample.label for sample in images.samples])
        subsets[subset] = describe_gap(
            scale * train.vectors,
            real_labels,
            scale * images.vectors,
            labels,
            class_names,
            settings,
        )
        for label, row in enumerate(subsets[subset]["by_class"]):
            if (labels == label).any():
                row["clip_score"] = round(float(scores[inside][labels == label].mean()), 5)
    return {"subsets": subsets, "mean": mean_gap(subsets.values())}


def _numbers(leakage: dict[str, Any]) -> dict[str, Any]:
    """Return the leakage in short."""
    return {
        "num_images": leakage["num_images"],
        "num_near_duplicates": leakage["num_near_duplicates"],
        "near_duplicate_fraction": leakage["fraction"],
        "near_duplicate_fraction_of_real_train": leakage["real_train"]["fraction"],
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="examine", description=__doc__)
    parser.add_argument("--set", required=True, help="a name of `sets` in params.yaml")
    for name in ("--real", "--clip", "--out", "--metric"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, help="the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    parser.add_argument("--sifted", type=Path, help="what sift has chosen (default: nothing)")
    args = parser.parse_args(arguments)
    sections = Sections()
    keep_fraction, cap, select = 1.0, None, "clip"  # of a retrieved set: filtered before
    if args.set in sections.read(list[str], "generated_sets"):
        generated = sections.read(SyntheticSettings, f"synthetic.{args.set}")
        keep_fraction, cap, select = generated.keep_fraction, generated.cap, generated.select
    examine(
        ExamineParams(
            sections.read(ExamineSettings, "examine"),
            keep_fraction=keep_fraction,
            cap=cap,
            select=select,
            clip_name=_clip_name(sections),
        ),
        real=args.real,
        blocks=block_folders(args.blocks, args.num_blocks),
        clip=args.clip,
        out=args.out,
        metric=args.metric,
        sifted=args.sifted,
    )


def _clip_name(sections: Sections) -> str:
    clip = sections.values["upstream"]["clip"] or {}
    return clip.get("hub", "the miniature's CLIP")
