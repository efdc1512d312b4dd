from pathlib import Path

import pytest

from own_data import settings
from synthbridge.data.real import SPLITS, read_dataset
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.writing import write_dataset

SETTINGS = settings(source="digits", flip=False, validation_per_class=15)
DIGITS = load_dataset(SETTINGS, Path("unused"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    write_dataset(DIGITS, out, SETTINGS)
    return read_dataset(out)


def test_splits_are_the_whole_data_set_without_overlap(digits):
    names = {split: [s.record["name"] for s in digits.samples(split)] for split in SPLITS}
    everything = sum(names.values(), [])
    assert len(everything) == len(set(everything)) == 1797
    assert names["test"] == [f"digits/{i:04d}" for i in range(898, 1797)]
    assert [len(names["validation"]), len(names["train"])] == [150, 748]


def test_same_bytes_twice(digits, tmp_path):
    write_dataset(DIGITS, tmp_path, SETTINGS)
    for file in sorted(tmp_path.iterdir()):
        assert file.read_bytes() == (digits.folder / file.name).read_bytes(), file.name
