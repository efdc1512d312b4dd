"""Checks of a raw folder, by the source that makes them all."""

import os
import re
from pathlib import Path

import pytest

from own_data import CLASSES, class_folders, encoded, fill, photo, settings
from synthbridge.sources.folders import load_folder


def _refused(raw, **changes):
    with pytest.raises(ValueError) as error:
        load_folder(settings(**changes), raw)
    return str(error.value)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    assert "mine does not exist; put the data set there" in _refused(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    assert "mine is empty; put the data set there" in _refused(tmp_path / "mine")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("rook/9.jpg.part", "9.jpg.part is half copied or downloaded; finish that"),
        ("mine.zip", "mine.zip is an archive, and what lies beside it may be only a part"),
        ("mine.tar.gz", "mine.tar.gz is an archive"),
    ],
)
def test_a_part_of_a_data_set_is_refused(tmp_path, path, sentence):
    raw = class_folders(tmp_path / "mine")
    (raw / path).parent.mkdir(exist_ok=True)
    (raw / path).write_bytes(encoded(photo(5)))
    assert sentence in _refused(raw, test_per_class=1)


def test_what_systems_leave_behind_is_left_out_with_one_line(tmp_path, capsys):
    raw = class_folders(tmp_path / "mine")
    names = ["Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r", "._0.jpg", ".DS_Store"]
    for name in (*names, "0.xml", "0.txt", "1.XML", "all.json"):
        (raw / "rook" / name).write_bytes(b"x")
    for folder in ("@eaDir", "__MACOSX", ".ipynb_checkpoints"):
        fill(raw / folder / "rook", 1)
    fill(raw / "rook" / "@eaDir", 1)
    dataset = load_folder(settings(test_per_class=1), raw)
    assert len(dataset.train) == 9 and len(dataset.test) == 3
    assert dataset.class_keys == CLASSES
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    for told in ("2 *.xml", "1 *.json", "1 Icon", "2 @eaDir", "1 ._*", "1 Thumbs.db", "1 .DS_S"):
        assert told in line


def test_a_class_may_be_called_like_a_hidden_folder(tmp_path):
    raw = class_folders(tmp_path / "mine")
    fill(raw / ".net", 4, 900)
    dataset = load_folder(settings(test_per_class=1), raw)
    assert dataset.class_keys == (".net", *CLASSES) and len(dataset.train) == 12


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    raw = class_folders(tmp_path / "mine")
    os.mkfifo(raw / "rook" / "9.jpg")
    assert "rook/9.jpg is a pipe, a socket or a device" in _refused(raw, test_per_class=1)


def test_links_lead_to_the_data_set_alone(tmp_path):
    raw = class_folders(tmp_path / "mine")
    link = raw / "rook" / "9.jpg"
    link.symlink_to(raw / "rook" / "0.jpg")
    dataset = load_folder(settings(test_per_class=1), raw)
    assert len(dataset.train) + len(dataset.test) == 13
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(encoded(photo(5)))
    for target, sentence in (
        (outside, "rook/9.jpg is a link to .*secret.jpg, outside the data set; DVC"),
        (tmp_path / "gone.jpg", "rook/9.jpg is a broken link to .*gone.jpg; put the file"),
        (link, "rook/9.jpg is a broken link"),
        (raw, "rook/9.jpg is a link to a folder that it lies in"),
    ):
        link.unlink()
        link.symlink_to(target)
        assert re.search(sentence, _refused(raw, test_per_class=1))
    link.unlink()
    cached = tmp_path / ".dvc/cache/files/md5/ab" / ("0" * 30)
    cached.parent.mkdir(parents=True)
    outside.rename(cached)
    link.symlink_to(cached)  # as `dvc checkout` makes it where cache.type is symlink
    assert len(load_folder(settings(test_per_class=1), raw).train) == 10


def test_the_folder_itself_may_be_a_link(tmp_path):
    class_folders(tmp_path / "elsewhere")
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    assert len(load_folder(settings(test_per_class=1), tmp_path / "mine").train) == 9


def test_a_name_that_is_no_utf8_is_told(tmp_path):
    raw = class_folders(tmp_path / "mine")
    (Path(os.fsdecode(os.fsencode(raw / "rook") + b"/caf\xe9.jpg"))).write_bytes(encoded(photo(5)))
    sentence = _refused(raw, test_per_class=1)
    assert "rook holds a file whose name is no UTF-8 ('caf\\udce9.jpg'); rename it" in sentence
