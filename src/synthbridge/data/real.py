"""A prepared real data set on disk: shards of its splits, classes, few-shot rankings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbridge.core.files import read_json
from synthbridge.data.manifests import Shots, choose_shots
from synthbridge.data.shards import Sample, index_shards

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PreparedDataset:
    """What every later stage needs to know of a prepared data set."""

    folder: Path
    class_names: tuple[str, ...]
    image_size: int | None
    flip: bool
    few_shot_rankings: list[list[list[str]]]
    num_groups: dict[str, int] | None = None  # of each split; None: no group is known
    group_note: str | None = None  # what a reader must know of the groups

    def samples(self, split: str) -> list[Sample]:
        """List the samples of a split."""
        return index_shards(self.folder, f"{split}-*.tar")

    def extra_test_samples(self) -> list[Sample]:
        """List the samples of the extra test set; none where the data set has none."""
        has_extra = any(self.folder.glob("extra_test-*.tar"))
        return self.samples("extra_test") if has_extra else []

    def train_samples(self, shots: Shots, seed: int) -> list[Sample]:
        """List the training samples that a run may see: all of them, or its k shots.

        Raises:
            ValueError: if a class has fewer than `shots` images.
        """
        train = self.samples("train")
        if shots == "full":
            return train
        assert isinstance(shots, int)
        names = choose_shots(self.few_shot_rankings, self.class_names, shots, seed)
        return [sample for sample in train if sample.record["name"] in names]


def read_dataset(folder: Path) -> PreparedDataset:
    """Read a folder that `prepare` wrote."""
    facts = read_json(folder / "dataset.json")
    return PreparedDataset(
        folder=folder,
        class_names=tuple(facts["class_names"]),
        image_size=facts["image_size"],
        flip=facts["flip"],
        few_shot_rankings=read_json(folder / "few_shot.json"),
        num_groups=facts.get("num_groups"),
        group_note=facts.get("group_note"),
    )


def number_groups(samples: Sequence[Sample]) -> dict[str, Any]:
    """Number the groups of images by their first appearance.

    Returns:
        `groups`, (N,) int32, to be kept beside the labels; nothing where no group is known.
    """
    groups = [sample.record.get("group") for sample in samples]
    if None in groups:
        return {}
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return {"groups": np.array([numbers[group] for group in groups], dtype=np.int32)}
