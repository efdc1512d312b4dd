from functools import partial

import pytest

from synthbridge.data.encoding import encode_image
from synthbridge.sources.named.pets import list_pets
from synthbridge.sources.named.source import load_listed

# Image, class id, species (1 cat, 2 dog), breed within the species.
TRAINVAL = [
    "Bombay_10 3 1 2",
    "Abyssinian_100 1 1 1",
    "american_bulldog_7 2 2 1",
    "wheaten_terrier_2 4 2 2",
]
TEST = [
    "american_bulldog_201 2 2 1",
    "Abyssinian_34 1 1 1",
    "wheaten_terrier_9 4 2 2",
    "Bombay_11 3 1 2",
]


@pytest.fixture
def load(tmp_path, write_images, write_lines, encode_small, replica_facts):
    notes = tmp_path / "annotations"
    write_lines(notes / "list.txt", "#Image CLASS-ID SPECIES BREED ID", *TRAINVAL, *TEST)
    write_lines(notes / "trainval.txt", *TRAINVAL)
    write_lines(notes / "test.txt", *TEST, end="\r\n")
    files = [f"{line.split()[0]}.jpg" for line in TRAINVAL + TEST]
    write_images(tmp_path / "images", files)
    # As in the authors' archive: unlisted images, MATLAB files, and a GIF by the name of a JPEG.
    write_images(tmp_path / "images", ["Abyssinian_101.mat", "Bombay_99.jpg"], b"")
    write_images(tmp_path / "images", ["Abyssinian_34.jpg"], encode_small(kind="GIF"))
    return partial(load_listed, list_pets, tmp_path, replica_facts("pets", 4, 4, 4))


def test_breeds_follow_their_ids_not_the_case_that_codes_the_species(load, listed):
    dataset = load()
    assert dataset.class_names == ("Abyssinian", "american bulldog", "Bombay", "wheaten terrier")
    assert listed(dataset, "train") == [
        ("images/Bombay_10.jpg", "Bombay"),
        ("images/Abyssinian_100.jpg", "Abyssinian"),
        ("images/american_bulldog_7.jpg", "american bulldog"),
        ("images/wheaten_terrier_2.jpg", "wheaten terrier"),
    ]
    assert [image.label for image in dataset.test] == [1, 0, 3, 2]


def test_only_listed_images_count_and_a_gif_is_left_to_the_encoding(load):
    dataset = load()
    names = [image.name for image in [*dataset.train, *dataset.test]]
    assert "images/Bombay_99.jpg" not in names and len(names) == 8
    (gif,) = (image for image in dataset.test if image.name == "images/Abyssinian_34.jpg")
    assert gif.read().startswith(b"GIF8")
    extension, content = encode_image(gif.read(), gif.name, None)
    assert extension == "png" and content.startswith(b"\x89PNG")


def test_empty_file_is_named(load, tmp_path):
    (tmp_path / "images/wheaten_terrier_9.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 'wheaten terrier' .*wheaten_terrier_9\.jpg"):
        load()


@pytest.mark.parametrize("line", ["Bombay_11 1 1 2", "Bombay_11 x 1 2"])
def test_line_that_contradicts_the_others_is_refused(load, tmp_path, write_lines, line):
    write_lines(tmp_path / "annotations/test.txt", *TEST[:3], line)
    with pytest.raises(ValueError, match=f"the line '{line}' has no class id, or one of another"):
        load()
