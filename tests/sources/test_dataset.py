"""From labelled files, here those of a folder, to a data set."""

import pytest

from own_data import CLASSES, class_folders, encoded, fill, photo, settings
from synthbridge.sources.folders import load_folder


def _names(images):
    return [image.name for image in images]


def _refused(raw, **changes):
    with pytest.raises(ValueError) as error:
        load_folder(settings(**changes), raw)
    return str(error.value)


def test_classes_alone_hold_out_a_test_split(tmp_path):
    raw = class_folders(tmp_path / "mine", 6)
    (raw / ".DS_Store").write_bytes(b"x")
    (raw / "README.txt").write_text("my birds")
    dataset = load_folder(settings(test_per_class=2), raw)
    assert dataset.class_keys == CLASSES
    assert dataset.class_names == ("American Crow", "house sparrow", "rook")
    assert dataset.validation is None and dataset.leave_out_copies
    assert len(dataset.train) == 12 and len(dataset.test) == 6
    assert not set(_names(dataset.train)) & set(_names(dataset.test))
    for image in (*dataset.train, *dataset.test):
        assert image.name.startswith(CLASSES[image.label] + "/")
        assert image.read() == (raw / image.name).read_bytes()
    again = load_folder(settings(test_per_class=2), raw)
    assert _names(again.test) == _names(dataset.test)
    other = load_folder(settings(test_per_class=2, seed=1), raw)
    assert _names(other.test) != _names(dataset.test)


def test_a_new_image_moves_no_other_between_splits(tmp_path):
    """The held-out images are those of the lowest hash: one more displaces at most one."""
    raw = class_folders(tmp_path / "mine", 6)
    before = set(_names(load_folder(settings(test_per_class=2), raw).test))
    (raw / "rook" / "new.jpg").write_bytes(encoded(photo(999)))
    after = set(_names(load_folder(settings(test_per_class=2), raw).test))
    assert len(before - after) <= 1


def test_train_and_validation_hold_out_test_from_train(tmp_path):
    raw = tmp_path / "mine"
    class_folders(raw / "train", 4)
    class_folders(raw / "val", 1, 1000)
    dataset = load_folder(settings(test_per_class=1), raw)
    assert [len(dataset.splits()[name]) for name in ("train", "validation", "test")] == [9, 3, 3]


def test_splits_that_do_not_fit_are_refused(tmp_path):
    raw = tmp_path / "mine"
    class_folders(raw / "train")
    class_folders(raw / "test", 1, 1000)
    fill(raw / "test" / "owl", 1, 2000)
    assert "class 'owl' has no image in train, only in test" in _refused(raw)
    fill(raw / "train" / "owl", 2, 3000)
    fill(raw / "train" / "jay", 2, 4000)
    assert "class 'jay' has no image in test, only in train" in _refused(raw)
    fill(raw / "test" / "jay", 1, 5000)
    assert "test_per_class is 1, but" in _refused(raw, test_per_class=1)
    assert "validation_per_class is 2, but class 'jay' has only 2 training images" in _refused(
        raw, validation_per_class=2
    )
    fill(raw / "val" / "jay", 1, 6000)
    fill(raw / "valid" / "jay", 1, 7000)
    assert "are both validation; put them into one folder" in _refused(raw)


def test_a_test_split_must_be_named_or_sized(tmp_path):
    raw = class_folders(tmp_path / "mine")
    assert "has no test split; say in params.yaml with data.mine.test_per_class" in _refused(raw)
    assert "test_per_class is 4, but class 'AmericanCrow' has only 4" in _refused(
        raw, test_per_class=4
    )


def test_one_class_is_too_few(tmp_path):
    fill(tmp_path / "mine" / "owl", 3)
    assert "holds one class; a classifier needs two" in _refused(
        tmp_path / "mine", test_per_class=1
    )
