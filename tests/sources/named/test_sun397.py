from functools import partial

import pytest

from synthbridge.sources.named.source import load_listed
from synthbridge.sources.named.sun397 import list_sun397, name_scene

CLASSES = ["/a/abbey", "/c/church/indoor", "/c/church/outdoor", "/c/coast"]


@pytest.fixture
def load(tmp_path, write_images, write_lines, replica_facts):
    write_lines(tmp_path / "SUN397/ClassName.txt", *CLASSES)
    train = [f"{key}/sun_a{index}.jpg" for key in CLASSES for index in range(2)]
    test = [f"{key}/sun_b.jpg" for key in CLASSES]
    write_lines(tmp_path / "Partitions/Training_01.txt", *train, end="\r\n")
    write_lines(tmp_path / "Partitions/Testing_01.txt", *test)
    write_lines(tmp_path / "Partitions/Training_02.txt", *test)
    write_images(tmp_path / "SUN397", [path[1:] for path in train + test])
    write_images(tmp_path / "SUN397", ["c/church/outdoor/sun_unlisted.jpg"])
    facts = replica_facts("sun397", 4, 8, 4, train_per_class=2, test_per_class=1)
    return partial(load_listed, list_sun397, tmp_path, facts)


def test_nested_paths_are_classes_of_their_own(load, listed):
    dataset = load()
    assert dataset.class_names == ("abbey", "indoor church", "outdoor church", "coast")
    assert listed(dataset, "test") == [
        ("SUN397/a/abbey/sun_b.jpg", "abbey"),
        ("SUN397/c/church/indoor/sun_b.jpg", "indoor church"),
        ("SUN397/c/church/outdoor/sun_b.jpg", "outdoor church"),
        ("SUN397/c/coast/sun_b.jpg", "coast"),
    ]
    assert [image.label for image in dataset.train] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(image.read() for image in [*dataset.train, *dataset.test])


def test_scene_names():
    assert name_scene("/a/abbey") == "abbey"
    assert name_scene("/c/chemistry_lab") == "chemistry lab"
    assert name_scene("/t/theater/indoor_procenium") == "indoor procenium theater"


def test_wrong_count_names_the_scene(load, tmp_path, write_lines):
    write_lines(tmp_path / "Partitions/Testing_01.txt", *(f"{k}/sun_b.jpg" for k in CLASSES[:2]))
    with pytest.raises(
        ValueError,
        match="SUN397 has 4 test images, its files list 2; not 1 as in every class: "
        "'outdoor church' with 0, 'coast' with 0; fetch again SUN397",
    ):
        load()
