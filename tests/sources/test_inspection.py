import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from own_data import class_folders, encoded, photo, settings
from synthbridge.sources.folders import load_folder
from synthbridge.sources.inspection import (
    check_space,
    describe_copies,
    describe_damage,
    find_copies,
    inspect_dataset,
    left_out,
    list_copies,
    summarise_changes,
    without,
)
from synthbridge.sources.loading import load_dataset


def _raw(folder):
    raw = class_folders(folder / "mine")
    (raw / "rook" / "cmyk.jpg").write_bytes(encoded(photo(900).convert("CMYK")))
    (raw / "rook" / "big.webp").write_bytes(encoded(photo(901, (90, 60)), "WEBP"))
    return raw


def test_every_image_is_decoded_and_changes_are_counted(tmp_path):
    dataset = load_folder(settings(test_per_class=1), _raw(tmp_path))
    inspections = inspect_dataset(dataset, 50)
    assert len(inspections) == 14
    assert inspections["rook/big.webp"].changes == ("WEBP", "huge")
    assert inspections["rook/0.jpg"].changes == ()
    assert summarise_changes(inspections.values()) == (
        "2 images are encoded anew (1 CMYK, 1 WEBP, 1 huge)"
    )
    assert summarise_changes([inspections["rook/0.jpg"]]) is None


def test_images_damaged_beside_their_pixels_are_counted(tmp_path):
    raw = class_folders(tmp_path / "mine")
    assert describe_damage(_inspected(raw).values()) is None
    (raw / "rook" / "bad.jpg").write_bytes(encoded(photo(900), exif=b"Exif\0\0no exif"))
    assert describe_damage(_inspected(raw).values()) == (
        "1 image(s) have damaged EXIF, colour profile or text; their pixels are whole, and they "
        "are used"
    )


def _inspected(raw):
    return inspect_dataset(load_folder(settings(test_per_class=1), raw), None)


def test_broken_images_are_named_together(tmp_path):
    raw = _raw(tmp_path)
    for index in range(5):
        (raw / "rook" / f"bad{index}.jpg").write_bytes(b"x")
    dataset = load_folder(settings(test_per_class=1), raw)
    with pytest.raises(ValueError) as error:
        inspect_dataset(dataset, None)
    *named, last = str(error.value).split("; and ")
    assert re.findall(r"rook/bad\d\.jpg", "".join(named)) == [f"rook/bad{n}.jpg" for n in range(3)]
    assert last == "2 more"


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    dataset = load_folder(settings(test_per_class=1), _raw(tmp_path))
    inspections = inspect_dataset(dataset, None)
    check_space(inspections.values(), tmp_path / "not" / "yet" / "there")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2000))
    with pytest.raises(ValueError, match=r"shards of .*out need about .* GB, .* 2e-06 GB free"):
        check_space(inspections.values(), Path(tmp_path / "out"))


@pytest.fixture
def copied(tmp_path):
    """Three splits, with copies across them, within train, and under another class."""
    raw = tmp_path / "mine"
    class_folders(raw / "train", 4)
    class_folders(raw / "val", 2, 1000)
    class_folders(raw / "test", 2, 2000)
    test_image = encoded(photo(2000), "PNG")
    (raw / "test" / "AmericanCrow" / "same.png").write_bytes(test_image)
    (raw / "train" / "AmericanCrow" / "test.bmp").write_bytes(encoded(photo(2000), "BMP"))
    (raw / "val" / "AmericanCrow" / "test.png").write_bytes(
        encoded(photo(2000).convert("RGBA"), "PNG")
    )
    (raw / "train" / "rook" / "again.jpg").write_bytes((raw / "train/rook/1.jpg").read_bytes())
    (raw / "train" / "rook" / "sparrow.jpg").write_bytes(
        (raw / "val/house_sparrow/1.jpg").read_bytes()
    )
    return raw


def _copies(dataset):
    sha256 = {name: seen.sha256 for name, seen in inspect_dataset(dataset, None).items()}
    return find_copies(dataset, sha256)


def test_copies_leave_train_and_validation_but_never_test(copied):
    dataset = load_folder(settings(), copied)
    copies = _copies(dataset)
    gone = left_out(copies, leave_out_copies=True)
    assert gone == {
        "train/AmericanCrow/test.bmp",
        "val/AmericanCrow/test.png",
        "train/rook/again.jpg",
        "train/rook/sparrow.jpg",
    }
    kept = without(dataset, gone)
    assert list(kept.test) == list(dataset.test) and len(kept.test) == 7
    assert len(kept.train) == 12 and len(kept.splits()["validation"]) == 6
    assert kept.class_names == dataset.class_names
    assert _copies(kept) == {}


def test_copies_are_described_and_listed(copied):
    copies = _copies(load_folder(settings(), copied))
    gone = left_out(copies, leave_out_copies=True)
    assert describe_copies(copies, gone) == [
        "3 image(s) occur more than once, 2 of them in more than one split: "
        "4 copies left out of train and validation, see duplicates.json",
        "1 image(s) occur in more than one class: one label must be wrong, see duplicates.json",
    ]
    listed = list_copies(copies, gone)
    assert [entry["sha256"] for entry in listed] == sorted(copies)
    conflict = next(e for e in listed if "train/rook/sparrow.jpg" in str(e))
    assert conflict["images"] == [
        {
            "name": "val/house_sparrow/1.jpg",
            "split": "validation",
            "class": "house_sparrow",
            "left_out": False,
        },
        {
            "name": "train/rook/sparrow.jpg",
            "split": "train",
            "class": "rook",
            "left_out": True,
        },
    ]


def test_two_copies_in_test_stay(tmp_path):
    raw = tmp_path / "mine"
    class_folders(raw / "train", 3)
    class_folders(raw / "test", 2, 2000)
    (raw / "test" / "rook" / "9.jpg").write_bytes((raw / "test/rook/1.jpg").read_bytes())
    copies = _copies(load_folder(settings(), raw))
    assert len(copies) == 1 and left_out(copies, leave_out_copies=True) == set()


def test_copies_in_a_published_split_stay_and_are_said(copied):
    copies = _copies(load_folder(settings(), copied))
    assert "2 of them in more than one split: they stay, see" in describe_copies(copies, set())[0]


def test_the_extra_test_set_yields_its_copies_to_all_others(copied):
    """Also where a published split keeps its own."""
    extra = copied / "elsewhere" / "rook"
    extra.mkdir(parents=True)
    (extra / "train.png").write_bytes((copied / "train/rook/0.jpg").read_bytes())
    (extra / "test.jpg").write_bytes((copied / "test/rook/0.jpg").read_bytes())
    (extra / "new.png").write_bytes(encoded(photo(7000), "PNG"))
    dataset = load_dataset(settings(extra_test="elsewhere"), copied)
    copies = _copies(dataset)
    gone = left_out(copies, leave_out_copies=False)
    assert gone == {f"extra_test:elsewhere/rook/{name}" for name in ("train.png", "test.jpg")}
    kept = without(dataset, gone)
    assert [image.name for image in kept.extra_test] == ["extra_test:elsewhere/rook/new.png"]
    assert list(kept.train) == list(dataset.train)
    words = describe_copies(copies, gone)[0]
    assert words.endswith(": 2 copies left out of the extra test set, see duplicates.json")
