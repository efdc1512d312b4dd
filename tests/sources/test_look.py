"""A look at a folder: its form is found, and what lies in it is counted as `prepare` would."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from own_data import (
    CLASSES,
    class_folders,
    encoded,
    fill,
    folders_with_copies,
    photo,
    settings,
    write_tar,
)
from synthbridge.sources.look import Form, find_form, look, unpack


def _look(folder, **changes):
    form = find_form(folder)
    return look(form, settings(source=form.source, group_by=form.group_by, **changes))


def test_class_folders_without_a_split(tmp_path):
    raw = class_folders(tmp_path / "mine", 5)
    fill(raw / "wren", 3, 900)
    found = _look(raw)
    assert find_form(raw) == Form(raw, "folder")
    assert found.names == ("American Crow", "house sparrow", "rook", "wren")
    assert found.learnable == (5, 5, 5, 3) and not found.is_split and not found.has_validation
    assert found.short_side == 20 and found.stretch == pytest.approx(24 / 20) and found.grey == 0


def test_a_split_is_found_by_its_usual_names_one_level_down(tmp_path):
    inner = tmp_path / "download" / "birds"
    for number, (split, count) in enumerate((("Training", 4), ("valid", 2), ("Testing", 3))):
        class_folders(inner / split, count, 1000 * number)
    assert find_form(tmp_path / "download") == Form(inner, "folder")
    found = _look(tmp_path / "download")
    assert found.is_split and found.has_validation
    assert found.learnable == (4, 4, 4) and found.counts["test"] == (3, 3, 3)


@pytest.mark.parametrize("split", [True, False])
def test_folders_in_classes_are_groups(tmp_path, split):
    raw = tmp_path / "mine"
    for part in ("train", "test") if split else ("",):
        for name in CLASSES:
            for group in range(4):
                fill(raw / part / name / f"{part}nest{group}", 2, hash((part, name, group)) % 9999)
    assert find_form(raw).group_by == "folder"
    assert sum(_look(raw).learnable) == 24


def test_notes_beside_folders_of_groups_hide_no_group(tmp_path):
    raw = tmp_path / "mine"
    for number, name in enumerate(CLASSES):
        for group in range(4):
            fill(raw / name / f"nest{group}", 2, 100 * number + 10 * group)
        (raw / name / "notes.txt").write_text("x")
    assert find_form(raw).group_by == "folder"
    assert _look(raw).learnable == (8, 8, 8)


@pytest.mark.parametrize("third", ["pred", "unlabelled"])
def test_a_folder_among_splits_that_is_none_is_refused(tmp_path, third):
    raw = tmp_path / "mine"
    for number, split in enumerate(("train", "test", third)):
        class_folders(raw / split, 3, 1000 * number)
    assert find_form(raw).group_by is None
    with pytest.raises(ValueError, match=r"is a folder inside a class folder; images lie in .*SPL"):
        _look(raw)


@pytest.mark.parametrize("names", [("train", "test", "dev"), ("Training", "Testing", "Valid")])
def test_splits_by_other_names_are_no_classes(tmp_path, names):
    for number, split in enumerate(names):
        class_folders(tmp_path / "mine" / split, 3, 1000 * number)
    found = _look(tmp_path / "mine")
    assert found.keys == CLASSES and found.is_split and found.has_validation


def test_lists_and_tars_are_known_by_their_files(tmp_path):
    listed = class_folders(tmp_path / "listed")
    rows = [f"{name}/{i}.jpg,{name}" for name in CLASSES for i in range(4)]
    (listed / "images.csv").write_text("\n".join(["path,label", *rows]))
    assert _look(listed).learnable == (4, 4, 4) and find_form(listed).source == "csv"
    members = [
        (f"{name}{i}.{kind}", content)
        for name in ("crow", "rook")
        for i in range(3)
        for kind, content in (
            ("jpg", encoded(photo(i + len(name)))),
            ("cls", name.encode()),
        )
    ]
    write_tar(tmp_path / "tars" / "birds.tar", members)
    assert find_form(tmp_path / "tars").source == "webdataset"
    assert _look(tmp_path / "tars").names == ("crow", "rook")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hub.yaml").write_text("id: owner/name\n")
    assert find_form(tmp_path / "hub").source == "huggingface"


def test_copies_and_grey_images_are_counted(tmp_path):
    raw = class_folders(tmp_path / "mine", 4)
    (raw / "rook" / "again.jpg").write_bytes((raw / "rook" / "0.jpg").read_bytes())
    for number in range(4):
        path = raw / "AmericanCrow" / f"{number}.jpg"
        path.write_bytes(encoded(photo(number).convert("L")))
    found = _look(raw)
    assert found.num_copies == 1 and found.grey == pytest.approx(4 / 13)


@pytest.mark.parametrize("split", [True, False])
def test_copies_that_prepare_leaves_out_are_not_learnable(tmp_path, split):
    raw = tmp_path / "mine"
    folders_with_copies(raw, split=split)
    found = _look(raw)
    assert found.num_copies == 15 and found.learnable == (20, 20, 5)
    assert sum(found.counts["train"]) == (60 if split else 57)


def test_an_image_of_two_classes_may_be_lost_to_each(tmp_path):
    raw = class_folders(tmp_path / "mine", 4)
    (raw / "rook" / "0.jpg").write_bytes((raw / "AmericanCrow" / "0.jpg").read_bytes())
    assert _look(raw).learnable == (3, 4, 3)


def test_a_class_of_a_split_that_copies_empty_is_refused(tmp_path):
    raw = tmp_path / "mine"
    class_folders(raw / "train", 3)
    class_folders(raw / "test", 3)
    with pytest.raises(ValueError, match="class 'AmericanCrow' has no image in train, only in tes"):
        _look(raw)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_unpacked(tmp_path, kind):
    raw, archive = class_folders(tmp_path / "mine"), tmp_path / f"mine.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(raw.rglob("*.jpg")):
                file.write(path, path.relative_to(tmp_path))
    else:
        with tarfile.open(archive, "w:gz") as file:
            file.add(raw, "mine")
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out")
    assert _look(tmp_path / "out").learnable == (4, 4, 4)


def test_an_archive_writes_nothing_outside(tmp_path):
    out = tmp_path / "a" / "out"
    out.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("../../escaped.txt", "x")
    unpack(tmp_path / "bad.zip", out)
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        info = tarfile.TarInfo("../../escaped.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ValueError, match=r"bad.tar cannot be unpacked"):
        unpack(tmp_path / "bad.tar", out)
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "does not exist; name the folder"),
        (lambda folder: folder.mkdir(), "holds no class folder, no images.csv"),
        (lambda folder: fill(folder, 2), "holds no class folder, no images.csv"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path, make, sentence):
    make(tmp_path / "mine")
    with pytest.raises(ValueError, match=sentence):
        find_form(tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("a.rar", "is no folder, zip or tar"), ("a.zip", "cannot be unpacked"), ("a.tar", "cannot")],
)
def test_what_is_no_archive_is_refused(tmp_path, name, sentence):
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(ValueError, match=sentence):
        unpack(tmp_path / name, tmp_path)


def _tar_of_noise(path, kind):
    """Write a tar of 60 kB that compresses badly."""
    with tarfile.open(path, f"w:{kind}") as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("mine/a/0.jpg")
        info.size = 60_000
        tar.addfile(info, io.BytesIO(np.random.default_rng(0).bytes(info.size)))
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_tar_is_refused_in_a_sentence(tmp_path, kind, damage):
    path = tmp_path / f"a.tar.{kind}"
    content = _tar_of_noise(path, kind)
    if damage == "cut":
        content = content[:40_000]
    else:
        content[20_000:20_400] = bytes(400)
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        ValueError, match=rf"a\.tar\.{kind} cannot be unpacked \(.+\); copy it again$"
    ):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (8, 1, r"a\.zip is encrypted; unpack it yourself with its password and name the folder"),
        (10, 97, r"a\.zip cannot be unpacked \(.+\); unpack it yourself and name the folder"),
    ],
)
def test_a_zip_that_python_cannot_read_is_to_be_unpacked_by_hand(tmp_path, field, value, sentence):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/0.txt", "x" * 1000)
    content = bytearray(path.read_bytes())
    content[field - 2] = value  # in the file's own header, and in the directory at the end
    content[content.rindex(b"PK\1\2") + field] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        unpack(path, tmp_path)


def test_a_zip_whose_content_is_damaged_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/0.txt", "x" * 1000)
    content = bytearray(path.read_bytes())
    content[37:41] = b"\xff" * 4  # behind a header of 30 bytes and a name of 7
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip cannot be unpacked \(.+\); copy it again$"):
        unpack(path, tmp_path)
