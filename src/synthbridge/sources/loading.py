"""Which reader a data set's source has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.corrupted_digits import CORRUPTED, corrupt_digits
from synthbridge.sources.dataset import RealDataset
from synthbridge.sources.digits import load_digits
from synthbridge.sources.extra_test import load_extra_test
from synthbridge.sources.folders import load_folder
from synthbridge.sources.hub_datasets import load_hub_dataset
from synthbridge.sources.lists import load_list
from synthbridge.sources.named.source import NAMED_SOURCES
from synthbridge.sources.tars import load_tars

# Each takes the data set's settings and the folder data/raw/NAME that holds its files.
SOURCES: dict[str, Callable[[DatasetSettings, Path], RealDataset]] = {
    "csv": load_list,
    "digits": load_digits,
    "folder": load_folder,
    "huggingface": load_hub_dataset,
    "webdataset": load_tars,
    **NAMED_SOURCES,
}


def load_dataset(settings: DatasetSettings, raw: Path) -> RealDataset:
    """List the images of a data set from the files in `raw`.

    Raises:
        ValueError: if the files are not as they should be, or the extra test set does not fit.
    """
    dataset = SOURCES[settings.source](settings, raw)
    if settings.extra_test is None:
        return dataset
    if settings.source == "digits" and settings.extra_test == CORRUPTED:
        return replace(dataset, extra_test=corrupt_digits(dataset.test))
    return replace(dataset, extra_test=load_extra_test(dataset, settings.extra_test, raw))
