import hashlib
from pathlib import Path

import pytest

from synthbridge.core.files import (
    hash_file,
    hash_folder,
    hash_value,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_json_has_sorted_keys(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "a.json").read_text() == '{\n "a": "ä",\n "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": "ä", "b": 1}


def test_hashes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert hash_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    assert hash_value({"a": 1, "b": 2}) == hash_value({"b": 2, "a": 1})
    before = hash_folder(tmp_path)
    (tmp_path / "x").rename(tmp_path / "y")
    assert hash_folder(tmp_path) != before


def write_half(path: Path) -> None:
    with whole_folder(path) as folder:
        (folder / "half").touch()
        raise OSError("no space left on device")


def test_folder_appears_only_when_the_block_ends(tmp_path: Path):
    out = tmp_path / "new" / "model"
    with whole_folder(out) as folder:
        (folder / "weights").write_text("1")
        assert not out.exists()
    assert (out / "weights").read_text() == "1"
    assert list(out.parent.iterdir()) == [out]


def test_error_leaves_what_was_there(tmp_path: Path):
    out = tmp_path / "model"
    with pytest.raises(OSError, match="no space"):
        write_half(out)
    assert list(tmp_path.iterdir()) == []
    with whole_folder(out) as folder:
        (folder / "weights").touch()
    with pytest.raises(OSError, match="no space"):
        write_half(out)
    assert [path.name for path in out.iterdir()] == ["weights"]


def test_what_a_killed_run_left_does_not_come_back(tmp_path: Path):
    left = tmp_path / ".model.partial"
    left.mkdir()
    (left / "half").touch()
    with whole_folder(tmp_path / "model") as folder:
        (folder / "weights").touch()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["weights"]
