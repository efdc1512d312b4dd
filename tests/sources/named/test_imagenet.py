"""ImageNet-100 and the test sets beside it, in tiny folders of the published layouts."""

import re
import shutil
from dataclasses import replace

import pytest

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.loading import load_dataset
from synthbridge.sources.named import source
from synthbridge.sources.named.facts import IMAGENET_100, PUBLISHED
from synthbridge.sources.named.imagenet import HERE, OUT_OF_DOMAIN
from synthbridge.sources.named.listing import read_lines, read_pairs

CLASSES = dict(read_pairs(HERE / "imagenet_100.txt"))
SYNSETS = read_lines(HERE / "imagenet_1000.txt")
ROBIN, STINKHORN = "n01558993", "n13040303"  # the first of the 100 classes and the last
TENCH = "n01440764"  # of ImageNet, not of the 100


def settings(**changes):
    values = {"source": "imagenet_100", "flip": True, "validation_per_class": 1, "seed": 0}
    return DatasetSettings(**{**values, **changes})


@pytest.fixture(scope="module")
def original(tmp_path_factory, write_images):
    """Train and val of all of ImageNet's classes that a test looks at, and the four sets."""
    raw = tmp_path_factory.mktemp("raw") / "imagenet_100"
    for synset in (*CLASSES, TENCH):
        write_images(raw / "train" / synset, [f"{synset}_{index}.JPEG" for index in range(3)])
        write_images(raw / "val" / synset, [f"ILSVRC2012_val_{synset}.JPEG"])
    for folder in ("imagenet-r", "sketch", "imagenet-a"):
        for synset in (ROBIN, TENCH):
            write_images(raw / folder / synset, ["a.jpg", "b.jpg"])
    (raw / "imagenet-r/README.txt").write_text("ImageNet-R")
    for index in (0, 15, 994):
        write_images(raw / "imagenetv2-matched-frequency-format-val" / str(index), ["c.jpeg"])
    return raw


@pytest.fixture
def raw(original, tmp_path, monkeypatch):
    counts = replace(IMAGENET_100, num_train=300, num_test=100, test_per_class=1)
    monkeypatch.setitem(PUBLISHED, "imagenet_100", counts)
    return shutil.copytree(original, tmp_path / "imagenet_100")


def test_the_lists_are_those_of_imagenet():
    assert len(SYNSETS) == 1000 and sorted(set(SYNSETS)) == SYNSETS
    assert len(CLASSES) == 100 and list(CLASSES) == sorted(CLASSES) and set(CLASSES) < set(SYNSETS)
    assert all(re.fullmatch(r"n\d{8}", synset) for synset in SYNSETS)
    assert SYNSETS.index(ROBIN) == 15 and CLASSES[ROBIN] == "robin"
    assert SYNSETS.index("n02869837") == 452 and CLASSES["n02869837"] == "bonnet"  # CMC's first
    assert SYNSETS.index(STINKHORN) == 994 and CLASSES[STINKHORN] == "stinkhorn"


def test_the_hundred_classes_are_read_in_the_published_split(raw, listed):
    dataset = load_dataset(settings(), raw)
    assert dataset.class_keys == tuple(CLASSES) and dataset.class_names[0] == "robin"
    assert listed(dataset, "train")[:2] == [
        (f"train/{ROBIN}/{ROBIN}_{index}.JPEG", "robin") for index in (0, 1)
    ]
    assert len(dataset.train) == 300 and len(dataset.test) == 100
    assert dataset.test[-1].name.startswith(f"val/{STINKHORN}/")


def test_other_counts_are_refused_as_the_published_ones(raw, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "imagenet_100", IMAGENET_100)
    assert source.PUBLISHED is PUBLISHED
    with pytest.raises(
        ValueError, match="ImageNet-100 has 126689 train images, its files list 300"
    ):
        load_dataset(settings(), raw)


def test_a_missing_class_says_what_to_fetch(raw):
    shutil.rmtree(raw / "val" / ROBIN)
    with pytest.raises(
        ValueError, match=rf"val/{ROBIN} is missing: nothing downloads ImageNet-100"
    ):
        load_dataset(settings(), raw)


@pytest.mark.parametrize("name", ["imagenet_r", "imagenet_sketch", "imagenet_a"])
def test_only_our_classes_are_tested_and_their_number_is_said(raw, name, capsys):
    dataset = load_dataset(settings(extra_test=name), raw)
    folder = OUT_OF_DOMAIN[name].folder
    assert [image.name for image in dataset.extra_test] == [
        f"extra_test:{folder}/{ROBIN}/{file}" for file in ("a.jpg", "b.jpg")
    ]
    assert {image.label for image in dataset.extra_test} == {0}
    assert f"extra_test '{name}' has 1 of 100 classes" in capsys.readouterr().out


def test_the_folders_of_imagenet_v2_are_indices_of_all_classes(raw, capsys):
    dataset = load_dataset(settings(extra_test="imagenet_v2"), raw)
    found = {image.name.split("/")[1]: image.label for image in dataset.extra_test}
    assert found == {"15": 0, "994": 99}  # index 0 is the tench
    assert "has 2 of 100 classes" in capsys.readouterr().out


def test_a_folder_of_imagenets_classes_takes_them_too(raw):
    for split in ("train", "val"):
        for synset in list(CLASSES)[2:]:
            shutil.rmtree(raw / split / synset)
    (raw / "val").rename(raw / "test")
    own = settings(source="folder", extra_test="imagenet_v2")
    dataset = load_dataset(own, raw)
    assert dataset.class_keys == (TENCH, ROBIN, list(CLASSES)[1])
    assert [image.label for image in dataset.extra_test] == [0, 1]


def test_a_set_that_is_not_there_says_what_to_fetch(raw):
    shutil.rmtree(raw / "sketch")
    with pytest.raises(ValueError, match=r"sketch does not exist.*fetch ImageNet-Sketch\.zip from"):
        load_dataset(settings(extra_test="imagenet_sketch"), raw)


def test_a_data_set_without_imagenets_classes_is_refused(raw, write_images):
    for folder in ("train", "val"):
        shutil.rmtree(raw / folder)
        for name in ("cat", "dog"):
            write_images(raw / folder / name, ["1.jpg", "2.jpg"])
    (raw / "val").rename(raw / "test")
    with pytest.raises(
        ValueError, match="no class of .* is one of its: they are known by ImageNet"
    ):
        load_dataset(settings(source="folder", extra_test="imagenet_a"), raw)


def test_a_class_called_sketch_stays_a_class_without_such_a_test(tmp_path, write_images):
    for name in ("photo", "sketch"):
        write_images(tmp_path / name, [f"{index}.jpg" for index in range(3)])
    dataset = load_dataset(settings(source="folder", test_per_class=1), tmp_path)
    assert dataset.class_keys == ("photo", "sketch")
