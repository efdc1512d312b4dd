from functools import partial

import pytest

from synthbridge.sources.named.caltech101 import (
    BETTER_NAMES,
    IMAGES_PER_CLASS,
    TRAIN_PER_CLASS,
    list_caltech101,
)
from synthbridge.sources.named.facts import FACTS
from synthbridge.sources.named.source import load_listed

COUNTS = {"Faces_easy": 33, "crocodile_head": 31, "water_lilly": 32}


@pytest.fixture
def load(tmp_path, write_images, replica_facts):
    for name, count in {**COUNTS, "BACKGROUND_Google": 5}.items():
        images = [f"image_{index:04d}.jpg" for index in range(1, count + 1)]
        write_images(tmp_path / "101_ObjectCategories" / name, images)
    (tmp_path / "101_ObjectCategories/BACKGROUND_Google/tmp").touch()  # as in the archive
    facts = replica_facts("caltech101", 3, 90, 6, train_per_class=30)
    return partial(load_listed, partial(list_caltech101, images_per_class=COUNTS), tmp_path, facts)


def test_published_counts_give_the_papers_split():
    facts = FACTS["caltech101"]
    assert len(IMAGES_PER_CLASS) == facts.num_classes
    assert sum(IMAGES_PER_CLASS.values()) == facts.num_train + facts.num_test
    assert sorted(IMAGES_PER_CLASS) == list(IMAGES_PER_CLASS)
    assert min(IMAGES_PER_CLASS.values()) > TRAIN_PER_CLASS
    assert BETTER_NAMES.keys() <= IMAGES_PER_CLASS.keys()


def test_thirty_a_class_train_and_background_is_left_out(load, listed):
    dataset = load()
    assert dataset.class_names == ("close-up face", "crocodile head", "water lily")
    train, test = listed(dataset, "train"), listed(dataset, "test")
    assert [name for _, name in train] == [n for n in dataset.class_names for _ in range(30)]
    assert [name for _, name in test] == [
        *["close-up face"] * 3,
        "crocodile head",
        *["water lily"] * 2,
    ]
    everything = [path for path, _ in train + test]
    assert len(set(everything)) == 96 and not any("BACKGROUND" in path for path in everything)


PINNED = [
    "Faces_easy/image_0007.jpg",
    "Faces_easy/image_0008.jpg",
    "Faces_easy/image_0018.jpg",
    "crocodile_head/image_0022.jpg",
    "water_lilly/image_0021.jpg",
    "water_lilly/image_0027.jpg",
]


def test_split_is_pinned(load):
    # Changing it would make every number that was published with it incomparable.
    assert [image.name.removeprefix("101_ObjectCategories/") for image in load().test] == PINNED


def test_folder_that_was_not_unpacked_is_named(load, tmp_path):
    folder = tmp_path / "101_ObjectCategories/water_lilly"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="not as published: 'water_lilly' has 0 of 32 images"):
        load()
    folder.rmdir()
    with pytest.raises(ValueError, match="'water_lilly' has 0 of 32 images"):
        load()


def test_wrong_count_names_the_class(load, tmp_path):
    (tmp_path / "101_ObjectCategories/crocodile_head/image_0007.jpg").unlink()
    with pytest.raises(ValueError, match="'crocodile_head' has 30 of 31 images; unpack"):
        load()


def test_folder_of_no_class_is_refused(load, tmp_path, write_images):
    write_images(tmp_path / "101_ObjectCategories/yeti", ["image_0001.jpg"])
    with pytest.raises(ValueError, match="holds 'yeti', no class of Caltech-101; take it out"):
        load()
