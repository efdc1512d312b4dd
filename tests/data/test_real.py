import numpy as np
import pytest

from own_data import settings
from synthbridge.data.real import number_groups, read_dataset
from synthbridge.data.shards import Sample, read_image
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.writing import write_dataset

SETTINGS = settings(source="digits", flip=False, validation_per_class=12)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    write_dataset(load_dataset(SETTINGS, out), out, SETTINGS)
    return read_dataset(out)


def test_a_written_data_set_is_read_again(digits):
    source = load_dataset(SETTINGS, digits.folder)
    assert digits.class_names == source.class_names and digits.image_size == source.image_size
    samples = digits.samples("test")
    assert [sample.label for sample in samples] == [image.label for image in source.test]
    assert {read_image(sample).size for sample in samples} == {(16, 16)}
    assert digits.extra_test_samples() == []


def test_groups_are_numbered_by_first_appearance(digits):
    def samples(*groups):
        return [Sample(digits.folder, 0, 0, "k", 0, {"group": group}) for group in groups]

    numbers = number_groups(samples("b", "a", "b", "c"))["groups"]
    assert numbers.tolist() == [0, 1, 0, 2] and numbers.dtype == np.int32
    assert number_groups([Sample(digits.folder, 0, 0, "k", 0, {})]) == {}
    test = number_groups(digits.samples("test"))["groups"]
    assert len(test) == 891 and np.all(np.diff(test) >= 0) and test[-1] == 6  # seven blocks


def test_few_shots_hold_no_validation_or_test_image(digits):
    kept_out = {s.record["name"] for split in ("validation", "test") for s in digits.samples(split)}
    full = {s.record["name"] for s in digits.train_samples("full", 0)}
    for seed in (0, 1):
        previous: set[str] = set()
        for shots in (1, 2, 4, 8, 16):
            samples = digits.train_samples(shots, seed)
            names = {s.record["name"] for s in samples}
            assert previous < names < full and not names & kept_out
            assert np.bincount([s.label for s in samples]).tolist() == [shots] * 10
            previous = names
