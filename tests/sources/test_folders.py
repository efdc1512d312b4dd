import pytest

from own_data import CLASSES, class_folders, encoded, fill, photo, settings
from synthbridge.sources.folders import load_folder


def _names(images):
    return [image.name for image in images]


def _refused(raw, **changes):
    with pytest.raises(ValueError) as error:
        load_folder(settings(**changes), raw)
    return str(error.value)


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_splits_are_read_where_they_stand(tmp_path, validation):
    raw = tmp_path / "mine"
    for number, split in enumerate(("train", validation, "test")):
        class_folders(raw / split, 2, 1000 * number)
    dataset = load_folder(settings(), raw)
    assert [len(dataset.splits()[name]) for name in ("train", "validation", "test")] == [6] * 3
    assert _names(dataset.splits()["validation"])[0] == f"{validation}/AmericanCrow/0.jpg"
    assert [image.label for image in dataset.test] == [0, 0, 1, 1, 2, 2]


def test_a_class_may_be_called_train(tmp_path):
    raw = class_folders(tmp_path / "mine")
    fill(raw / "train", 4, 900)
    dataset = load_folder(settings(test_per_class=1), raw)
    assert dataset.class_keys == (*CLASSES, "train")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("rook/sub/9.jpg", "rook/sub is a folder inside a class folder; images lie in"),
        ("9.jpg", "9.jpg lies in no class folder; move it into one"),
    ],
)
def test_what_does_not_belong_there_is_named(tmp_path, path, sentence):
    raw = class_folders(tmp_path / "mine")
    (raw / path).parent.mkdir(exist_ok=True)
    (raw / path).write_bytes(encoded(photo(5)))
    assert sentence in _refused(raw, test_per_class=1)


def test_an_empty_class_is_refused(tmp_path):
    raw = class_folders(tmp_path / "mine")
    (raw / "owl").mkdir()
    assert "owl is empty; add its images or remove the folder" in _refused(raw, test_per_class=1)


def test_one_level_too_deep_is_refused(tmp_path):
    class_folders(tmp_path / "mine" / "birds")
    sentence = _refused(tmp_path / "mine", test_per_class=1)
    assert "birds/AmericanCrow is a folder inside a class folder" in sentence
