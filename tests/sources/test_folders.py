import pytest

from own_data import CLASSES, class_folders, encoded, fill, photo, settings
from synthbridge.sources.folders import load_folder


def _names(images):
    return [image.name for image in images]


def _refused(raw, **changes):
    with pytest.raises(ValueError) as error:
        load_folder(settings(**changes), raw)
    return str(error.value)


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev", "Val"])
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


def _group_folders(raw, groups, count=2):
    """Make CLASS/GROUP/IMAGE below `raw`."""
    for number, name in enumerate(("crow", "rook")):
        for other, group in enumerate(groups):
            fill(raw / name / group, count, 1000 * number + 100 * other)
    return raw


def test_folders_in_a_class_are_groups_where_the_setting_says_so(tmp_path):
    raw = _group_folders(tmp_path / "mine", "abcd")
    dataset = load_folder(settings(test_per_class=2, group_by="folder"), raw)
    assert dataset.class_keys == ("crow", "rook")
    for image in (*dataset.train, *dataset.test):
        assert image.name.split("/")[:2] == [dataset.class_keys[image.label], image.group]
    train, test = ({image.group for image in images} for images in (dataset.train, dataset.test))
    assert len(test) == 1 and len(train) == 3 and not train & test
    assert "or say data.mine.group_by: folder if" in _refused(raw, test_per_class=2)


def test_groups_below_folders_of_splits(tmp_path):
    _group_folders(tmp_path / "mine" / "train", "abc")
    _group_folders(tmp_path / "mine" / "test", "de", 1)
    dataset = load_folder(settings(group_by="folder"), tmp_path / "mine")
    assert [image.group for image in dataset.test] == ["d", "e"] * 2
    assert {image.group for image in dataset.train} == set("abc")


def test_an_image_outside_a_group_is_named(tmp_path):
    raw = _group_folders(tmp_path / "mine", "abcd")
    (raw / "rook" / "9.jpg").write_bytes(encoded(photo(5)))
    sentence = _refused(raw, test_per_class=2, group_by="folder")
    assert "rook/9.jpg lies in no group; with data.mine.group_by: folder every image" in sentence


def test_an_empty_class_is_refused(tmp_path):
    raw = class_folders(tmp_path / "mine")
    (raw / "owl").mkdir()
    assert "owl is empty; add its images or remove the folder" in _refused(raw, test_per_class=1)


def test_one_level_too_deep_is_refused(tmp_path):
    class_folders(tmp_path / "mine" / "birds")
    sentence = _refused(tmp_path / "mine", test_per_class=1)
    assert "birds/AmericanCrow is a folder inside a class folder" in sentence


@pytest.mark.parametrize("other", ["pred", "crow"])
def test_splits_among_other_folders_are_no_classes_of_groups(tmp_path, other):
    for number, name in enumerate(("train", "test", other)):
        class_folders(tmp_path / "mine" / name, 2, 1000 * number)
    sentence = _refused(tmp_path / "mine", test_per_class=1, group_by="folder")
    assert "mine/test is called as a split is, but with data.mine.group_by: folder" in sentence
    assert "\n" not in sentence


def test_annotations_beside_groups_are_left_out_with_one_line(tmp_path, capsys):
    raw = _group_folders(tmp_path / "mine", "abcd")
    for name in ("crow/note.txt", "rook/boxes.json", "rook/a.xml", "rook/a/0.xml"):
        (raw / name).write_text("x")
    dataset = load_folder(settings(test_per_class=2, group_by="folder"), raw)
    assert {image.group for image in (*dataset.train, *dataset.test)} == set("abcd")
    assert "1 *.json, 1 *.txt, 2 *.xml" in capsys.readouterr().out


def test_a_class_with_annotations_alone_is_empty(tmp_path):
    raw = _group_folders(tmp_path / "mine", "abcd")
    (raw / "owl").mkdir()
    (raw / "owl" / "note.txt").write_text("x")
    sentence = _refused(raw, test_per_class=2, group_by="folder")
    assert "owl is empty; add its images or remove the folder" in sentence


@pytest.mark.parametrize("name", ["nan", "-1"])
def test_a_class_folder_may_be_called_as_a_missing_label_is(tmp_path, name):
    raw = class_folders(tmp_path / "mine")
    fill(raw / name, 4, 900)
    dataset = load_folder(settings(test_per_class=1), raw)
    assert name in dataset.class_keys and len(dataset.train) == 12
