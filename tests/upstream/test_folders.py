from pathlib import Path

import pytest

from synthbridge.upstream.folders import whole_folder


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
