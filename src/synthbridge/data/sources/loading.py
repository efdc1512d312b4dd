"""Which reader a data set's source has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from synthbridge.data.settings import DatasetSettings
from synthbridge.data.sources.corrupted_digits import CORRUPTED, corrupt_digits
from synthbridge.data.sources.dataset import RealDataset
from synthbridge.data.sources.digits import load_digits
from synthbridge.data.sources.extra_test import load_extra_test
from synthbridge.data.sources.folders import load_folder
from synthbridge.data.sources.hub_datasets import load_hub_dataset
from synthbridge.data.sources.lists import load_list
from synthbridge.data.sources.named.source import NAMED_SOURCES
from synthbridge.data.sources.tars import load_tars

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
