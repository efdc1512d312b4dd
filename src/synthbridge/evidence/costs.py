"""Costs: what the answer took. Counted where files tell it; hours are not, as machines differ.

A page with hours on it would change with every machine that makes it, and its results with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from synthbridge.evidence.comparisons import Comparison
from synthbridge.evidence.examined import Examined
from synthbridge.evidence.results import TestedModel, is_clip
from synthbridge.evidence.tables import groups_of


@dataclass(frozen=True)
class SetCost:
    """The images of one set."""

    set: str
    images_per_class: int
    num_subsets: int  # a set made from shots has one for each seed
    num_images: int  # over all classes and subsets, before a filter
    is_retrieved: bool
    num_bytes: float | None  # by the weight of one shard's images; None: not known


def set_costs(
    made_of: Mapping[str, Mapping[str, Any]],
    examined: Sequence[Examined],
    num_classes: int,
    bytes_each: Mapping[str, float],
) -> list[SetCost]:
    """Count the images of each set that is known.

    Args:
        made_of: by set, its group in params.yaml.
        examined: what `examine` found, which names the subsets.
        num_classes: of the data set.
        bytes_each: by set, the weight of an image.
    """
    costs = []
    for item in (item for item in examined if item.set in made_of):
        group, num_subsets = made_of[item.set], len(item.gap["subsets"])
        is_retrieved = "search" in group
        wanted = group["images_per_class"] * num_classes * num_subsets
        # A pool may hold fewer; `examine` leaves none of a retrieved set out.
        num_images = item.leakage["num_images"] if is_retrieved else wanted
        weight = bytes_each.get(item.set)
        costs.append(
            SetCost(
                set=item.set,
                images_per_class=group["images_per_class"],
                num_subsets=num_subsets,
                num_images=num_images,
                is_retrieved=is_retrieved,
                num_bytes=None if weight is None else weight * num_images,
            )
        )
    return costs


def cost_rows(costs: Sequence[SetCost]) -> list[dict[str, str]]:
    """Return a row a set, in words."""
    return [
        {
            "set": cost.set,
            "how": "found" if cost.is_retrieved else "drawn",
            "images": f"{cost.num_images:,}",
            "per_class": f"{cost.images_per_class:,}",
            "subsets": "one, for all seeds"
            if cost.num_subsets == 1
            else f"{cost.num_subsets}, one a seed",
            "disk": "" if cost.num_bytes is None else f"about {bytes_words(cost.num_bytes)}",
        }
        for cost in costs
    ]


def bytes_words(num_bytes: float) -> str:
    """Say a number of bytes: "3.1 MB", "27 GB"."""
    for unit in ("kB", "MB", "GB", "TB"):
        num_bytes /= 1000
        if num_bytes < 1000 or unit == "TB":
            break
    return f"{num_bytes:.1f} {unit}" if num_bytes < 10 else f"{num_bytes:,.0f} {unit}"


def work_sentences(
    runs: Sequence[TestedModel], losses: pd.DataFrame, primary: Comparison | None
) -> list[str]:
    """Say how much was trained.

    Args:
        runs: all models that were tested.
        losses: the curves of the style tokens.
        primary: the comparison of the verdict, if there is one.
    """
    sentences = []
    if len(losses):
        lengths = [int(curve["step"].max()) for _, curve in groups_of(losses, ["set", "subset"])]
        steps = sorted(set(lengths))
        words = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        many = "1 training" if len(lengths) == 1 else f"{len(lengths)} trainings"
        sentences.append(
            f"{many} on the generator (a style token, words or a LoRA), of {words} steps each."
        )
    on_clip = sum(is_clip(run.arm) for run in runs)
    beside = f", and {on_clip} on CLIP's features" if on_clip else ""
    sentences.append(f"{len(runs) - on_clip:,} final models were tested{beside}.")
    if primary is not None:
        sentences.append(
            f"One of {primary.arm} takes {primary.arm_steps:,.0f} gradient steps (those on drawn "
            f"images alone included), one of {primary.reference} {primary.reference_steps:,.0f}."
        )
    return sentences
