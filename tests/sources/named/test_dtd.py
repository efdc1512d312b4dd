from functools import partial

import pytest

from synthbridge.sources.named.dtd import list_dtd
from synthbridge.sources.named.source import load_listed

CLASSES = ("banded", "polka-dotted", "zigzagged")


@pytest.fixture
def load(tmp_path, write_images, write_lines, replica_facts):
    for part, index in (("train", 2), ("val", 5), ("test", 3)):
        lines = [f"{name}/{name}_{index:04d}.jpg" for name in CLASSES]
        write_lines(tmp_path / f"dtd/labels/{part}1.txt", *lines)
        # The other nine splits lie beside the first.
        write_lines(tmp_path / f"dtd/labels/{part}2.txt", f"banded/banded_{index + 1:04d}.jpg")
        write_images(tmp_path / "dtd/images", lines)
    facts = replica_facts("dtd", 3, 6, 3, train_per_class=2, test_per_class=1)
    return partial(load_listed, list_dtd, tmp_path, facts)


def test_train_and_val_of_split_one_train(load, listed):
    dataset = load()
    assert dataset.class_names == CLASSES
    assert listed(dataset, "train") == [
        (f"dtd/images/{name}/{name}_{index:04d}.jpg", name) for index in (2, 5) for name in CLASSES
    ]
    assert listed(dataset, "test") == [
        (f"dtd/images/{name}/{name}_0003.jpg", name) for name in CLASSES
    ]


def test_list_of_another_split_is_refused(load, tmp_path, write_lines):
    lines = [f"{name}/{name}_0005.jpg" for name in CLASSES]  # these are in val1
    write_lines(tmp_path / "dtd/labels/test1.txt", *lines)
    with pytest.raises(ValueError, match=r"banded_0005\.jpg is listed twice"):
        load()


def test_missing_list_says_what_to_fetch(load, tmp_path):
    (tmp_path / "dtd/labels/val1.txt").unlink()
    with pytest.raises(ValueError, match=r"val1\.txt is missing.*fetch dtd-r1\.0\.1\.tar\.gz from"):
        load()
