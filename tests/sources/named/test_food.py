import json
from functools import partial

import pytest

from synthbridge.sources.named.food import list_food
from synthbridge.sources.named.source import load_listed

TRAIN = {
    "creme_brulee": ["creme_brulee/11", "creme_brulee/9"],
    "apple_pie": ["apple_pie/1005649", "apple_pie/1014775"],
}
TEST = {"apple_pie": ["apple_pie/1011328"], "creme_brulee": ["creme_brulee/7"]}


@pytest.fixture
def load(tmp_path, write_images, write_lines, replica_facts):
    meta = tmp_path / "food-101/meta"
    write_lines(meta / "classes.txt", "apple_pie", "creme_brulee")
    write_lines(meta / "train.json", json.dumps(TRAIN))
    write_lines(meta / "test.json", json.dumps(TEST))
    for images in (*TRAIN.values(), *TEST.values()):
        write_images(tmp_path / "food-101/images", [f"{image}.jpg" for image in images])
    facts = replica_facts("food", 2, 4, 2, train_per_class=2, test_per_class=1)
    return partial(load_listed, list_food, tmp_path, facts)


def test_order_of_classes_is_that_of_the_list_not_of_the_json(load, listed):
    dataset = load()
    assert dataset.class_names == ("apple pie", "creme brulee")
    assert listed(dataset, "train") == [
        ("food-101/images/creme_brulee/11.jpg", "creme brulee"),
        ("food-101/images/creme_brulee/9.jpg", "creme brulee"),
        ("food-101/images/apple_pie/1005649.jpg", "apple pie"),
        ("food-101/images/apple_pie/1014775.jpg", "apple pie"),
    ]
    assert [image.label for image in dataset.test] == [0, 1]


def test_cut_json_is_refused(load, tmp_path):
    path = tmp_path / "food-101/meta/train.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match=r"train\.json is no list of images"):
        load()


def test_half_unpacked_archive_names_class_and_images(load, tmp_path):
    (tmp_path / "food-101/images/creme_brulee/9.jpg").unlink()
    (tmp_path / "food-101/images/creme_brulee/7.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"unpacked in part: 2 of its 6 images are missing or empty.*: 2 of 'creme brulee' "
        r"\(such as food-101/images/creme_brulee/9\.jpg\); unpack .* food-101\.tar\.gz",
    ):
        load()
