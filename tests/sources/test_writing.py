from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from own_data import settings
from synthbridge.core.files import read_json
from synthbridge.data.real import SPLITS, read_dataset
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.writing import write_dataset

SETTINGS = settings(source="digits", flip=False, validation_per_class=12)
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
    assert names["test"] == [f"digits/{i:04d}" for i in range(906, 1797)]
    assert [len(names["validation"]), len(names["train"])] == [130, 776]


def test_no_group_of_digits_lies_in_two_splits(digits):
    groups = {split: {s.record["group"] for s in digits.samples(split)} for split in SPLITS}
    assert len(set.union(*groups.values())) == sum(map(len, groups.values())) == 14
    assert digits.num_groups == {"train": 6, "validation": 1, "test": 7}
    assert digits.group_note == DIGITS.group_note
    facts = read_json(digits.folder / "dataset.json")
    assert facts["num_shared_groups"] == 0


def test_validation_that_whole_groups_cannot_fill_is_said(tmp_path, capsys):
    """Authors give a split whose train is of two writers: 20 of a class take both."""
    two = {"block 01", "block 02"}
    few = replace(DIGITS, train=[image for image in DIGITS.train if image.group in two])
    wanted = settings(source="digits", flip=False, validation_per_class=20)
    write_dataset(few, tmp_path, wanted)
    assert read_dataset(tmp_path).num_groups == {"train": 2, "validation": 2, "test": 7}
    assert read_json(tmp_path / "dataset.json")["num_shared_groups"] == 2
    assert np.bincount([s.label for s in read_dataset(tmp_path).samples("validation")]).min() == 20
    said = capsys.readouterr().out
    assert "whole groups cannot fill validation: it shares groups with train" in said
    assert "2 of them lie in more than one split" in said


def test_without_groups_nothing_is_said_of_them(tmp_path):
    bare = [
        [replace(image, group=None) for image in split] for split in (DIGITS.train, DIGITS.test)
    ]
    write_dataset(replace(DIGITS, train=bare[0], test=bare[1]), tmp_path, SETTINGS)
    dataset = read_dataset(tmp_path)
    assert dataset.num_groups is None
    assert "num_groups" not in read_json(tmp_path / "dataset.json")
    assert "group" not in dataset.samples("test")[0].record
    assert len(dataset.samples("validation")) == 120


def test_same_bytes_twice(digits, tmp_path):
    write_dataset(DIGITS, tmp_path, SETTINGS)
    for file in sorted(tmp_path.iterdir()):
        assert file.read_bytes() == (digits.folder / file.name).read_bytes(), file.name
