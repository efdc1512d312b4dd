"""How large the data sets are: as `prepare` has left them, or as is known before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from synthbridge.core.files import read_json
from synthbridge.params import Params
from synthbridge.sources.named.facts import PUBLISHED

REAL = Path("data/real")  # where dvc.yaml has `prepare` leave them


@dataclass(frozen=True)
class DatasetSize:
    """Numbers of images of a real data set."""

    num_classes: int
    num_train: int
    num_validation: int
    num_test: int

    @property
    def num_images(self) -> int:
        """Of all splits."""
        return self.num_train + self.num_validation + self.num_test

    def num_seen(self, shots: int | str | None) -> int:
        """Return the training images that a run with so many shots sees."""
        if shots is None:
            return 0
        return self.num_train if shots == "full" else self.num_classes * int(shots)


def read_sizes(params: Params, real: Path = REAL) -> Mapping[str, DatasetSize]:
    """Find the size of every data set of params.yaml.

    Raises:
        ValueError: if one is not prepared yet and none of those that are known.
    """
    return {name: _size(params, name, real / name) for name in params.datasets}


def _size(params: Params, dataset: str, folder: Path) -> DatasetSize:
    settings = params.data[dataset]
    if (folder / "dataset.json").is_file():
        return prepared_size(folder)
    if settings.source == "digits":
        held_out = 129 * ceil(settings.validation_per_class / 12)  # whole blocks of 126 or 130
        return DatasetSize(10, 906 - held_out, held_out, 891)
    if settings.source in PUBLISHED:
        facts = PUBLISHED[settings.source]
        held_out = facts.num_classes * settings.validation_per_class
        return DatasetSize(facts.num_classes, facts.num_train - held_out, held_out, facts.num_test)
    raise ValueError(
        f"the size of data set '{dataset}' is not known yet; run 'dvc repro prepare@{dataset}'"
    )


def prepared_size(folder: Path) -> DatasetSize:
    """Read the size of a data set that `prepare` has left."""
    facts = read_json(folder / "dataset.json")
    counts = facts["counts"]
    return DatasetSize(
        len(facts["class_names"]), counts["train"], counts["validation"], counts["test"]
    )
