from functools import partial

import pytest

from synthbridge.sources.named.cub import list_cub
from synthbridge.sources.named.source import load_listed

IMAGES = [
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0),
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1),
    ("010.Red_winged_Blackbird/Red_Winged_Blackbird_0079_4527.jpg", 2, 1),
    ("010.Red_winged_Blackbird/Red_Winged_Blackbird_0020_4050.jpg", 2, 0),
    ("023.Chuck_will_Widow/Chuck_Will_Widow_0059_796982.jpg", 3, 1),
    ("023.Chuck_will_Widow/Chuck_Will_Widow_0033_796955.jpg", 3, 0),
]


@pytest.fixture
def load(tmp_path, write_images, write_lines, replica_facts):
    cub = tmp_path / "CUB_200_2011"
    classes = ["001.Black_footed_Albatross", "010.Red_winged_Blackbird", "023.Chuck_will_Widow"]
    # The ids are no line numbers: images are listed backwards here, and counted from 10.
    numbered = list(enumerate(IMAGES, start=10))
    write_lines(cub / "classes.txt", *(f"{i} {name}" for i, name in enumerate(classes, start=1)))
    write_lines(cub / "images.txt", *(f"{i} {path}" for i, (path, _, _) in reversed(numbered)))
    write_lines(cub / "image_class_labels.txt", *(f"{i} {key}" for i, (_, key, _) in numbered))
    write_lines(cub / "train_test_split.txt", *(f"{i} {train}" for i, (_, _, train) in numbered))
    write_images(cub / "images", [path for path, _, _ in IMAGES])
    return partial(load_listed, list_cub, tmp_path, replica_facts("cub", 3, 3, 3))


def test_files_are_joined_by_id(load, listed):
    dataset = load()
    names = ("Black footed Albatross", "Red winged Blackbird", "Chuck will Widow")
    assert dataset.class_names == names
    for split, flag in (("train", 1), ("test", 0)):
        assert sorted(listed(dataset, split)) == [
            (f"CUB_200_2011/images/{path}", names[key - 1])
            for path, key, train in sorted(IMAGES)
            if train == flag
        ]


def test_image_without_split_is_named(load, tmp_path, write_lines):
    write_lines(tmp_path / "CUB_200_2011/train_test_split.txt", "10 1", "11 0", "12 1")
    with pytest.raises(ValueError, match="image 15 .* has no class or no split"):
        load()
