from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from synthbridge.data.real import read_dataset
from synthbridge.data.settings import DatasetSettings
from synthbridge.data.shards import read_image
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.writing import write_dataset

DIGITS = load_dataset(
    DatasetSettings(source="digits", flip=False, validation_per_class=15, seed=0), Path("unused")
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    write_dataset(DIGITS, out, flip=False, validation_per_class=15, seed=0)
    return read_dataset(out)


def test_splits_are_the_whole_data_set_without_overlap(digits):
    names = {split: [s.record["name"] for s in digits.samples(split)]
             for split in ("train", "validation", "test")}  # fmt: skip
    everything = sum(names.values(), [])
    assert len(everything) == len(set(everything)) == 1797
    assert names["test"] == [f"digits/{i:04d}" for i in range(898, 1797)]
    assert [len(names["validation"]), len(names["train"])] == [150, 748]


def test_images_and_labels_are_those_of_scikit_learn(digits):
    original = load_digits()
    for sample in digits.samples("test")[::50]:
        index = int(sample.record["name"].removeprefix("digits/"))
        assert sample.label == original.target[index]
        pixels = np.asarray(read_image(sample), dtype=float)
        assert pixels.shape == (16, 16, 3)
        small = pixels[:, :, 0].reshape(8, 2, 8, 2).mean((1, 3)) * 16 / 255
        assert np.corrcoef(small.ravel(), original.images[index].ravel())[0, 1] > 0.97


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


def test_same_bytes_twice(digits, tmp_path):
    write_dataset(DIGITS, tmp_path, flip=False, validation_per_class=15, seed=0)
    for file in sorted(tmp_path.iterdir()):
        assert file.read_bytes() == (digits.folder / file.name).read_bytes(), file.name
