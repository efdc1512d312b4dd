import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from own_data import class_folders, encoded, photo, settings
from synthbridge.sources.folders import load_folder
from synthbridge.sources.inspection import check_space, inspect_dataset, summarise_changes


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


def test_broken_images_are_named_together(tmp_path):
    raw = _raw(tmp_path)
    for index in range(5):
        (raw / "rook" / f"bad{index}.jpg").write_bytes(b"x")
    dataset = load_folder(settings(test_per_class=1), raw)
    with pytest.raises(ValueError) as error:
        inspect_dataset(dataset, None)
    assert str(error.value).count("is no image that Pillow can read") == 3
    assert str(error.value).startswith("rook/bad0.jpg is no image")
    assert str(error.value).endswith("; and 2 more")


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    dataset = load_folder(settings(test_per_class=1), _raw(tmp_path))
    inspections = inspect_dataset(dataset, None)
    check_space(inspections.values(), tmp_path / "not" / "yet" / "there")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2000))
    with pytest.raises(ValueError, match=r"shards of .*out need about .* GB, .* 2e-06 GB free"):
        check_space(inspections.values(), Path(tmp_path / "out"))
