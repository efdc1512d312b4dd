from pathlib import Path

import pytest

from synthbridge.core import units as work


def test_a_unit_is_whole_or_not_there(tmp_path):
    path = tmp_path / "ab" / "abc"

    def fail():
        with work.whole_unit(path) as unit:
            (unit / "half").write_text("x")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert not path.exists()
    with work.whole_unit(path) as unit:
        (unit / "all").write_text("x")
    assert [file.name for file in path.iterdir()] == ["all"]


def test_the_first_of_two_makers_wins(tmp_path):
    path = tmp_path / "unit"
    with work.whole_unit(path) as unit:
        (unit / "a").write_text("second")
        path.mkdir()
        (path / "a").write_text("first")
    assert (path / "a").read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["unit"]


def test_key_follows_what_decides(monkeypatch):
    assert work.unit_key(a=1, b=2) == work.unit_key(b=2, a=1)
    assert work.unit_key(a=1) != work.unit_key(a=2)
    before = work.unit_key(a=1)
    monkeypatch.setattr(work, "hash_code", lambda: "edited")
    assert work.unit_key(a=1) != before


def test_temporary_experiments_share_the_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SYNTHBRIDGE_WORK", raising=False)
    inside = tmp_path / ".dvc" / "tmp" / "exps" / "tmp123"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert work.work_folder() == tmp_path / "work"
    monkeypatch.chdir(tmp_path)
    assert work.work_folder() == tmp_path / "work"
    monkeypatch.setenv("SYNTHBRIDGE_WORK", "/elsewhere")
    assert work.work_folder() == Path("/elsewhere")
