"""Every family through the stages: two processes, blocks up and down, nothing drawn twice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from families import FAMILIES, run_stages, write_all

from house import ROOT
from synthbridge.core.files import hash_folder, read_json
from synthbridge.data.shards import index_shards, read_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of every family, and its work folder."""
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(out / "work"))
        for name in FAMILIES:
            run_stages(folder, name, out / name)
    return out


def test_two_processes_make_the_same_bytes(folder: Path, made: Path, tmp_path: Path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "tests/families.py"), str(folder), str(tmp_path / "two")]
    path = f"{ROOT / 'src'}:{ROOT / 'tests'}"
    environment = {**os.environ, "SYNTHBRIDGE_WORK": str(tmp_path / "work"), "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "between 2 processes" in done.stdout
    for name in FAMILIES:
        assert hash_folder(tmp_path / "two" / name) == hash_folder(made / name), name


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_up_and_down(folder: Path, made: Path, tmp_path: Path, name: str, monkeypatch):
    """Fewer images leave the blocks that are left as they were, and draw none; more draw again."""
    work = shutil.copytree(made / "work", tmp_path / "work")
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(work))
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/*/*")}
    fewer = run_stages(folder, name, tmp_path / "fewer", images_per_class=2)
    assert hash_folder(fewer / "b0") == hash_folder(made / name / "b0")
    assert read_json(fewer / "b1/index.json") == {"num_images": 0}
    again = run_stages(folder, name, tmp_path / "again")
    assert hash_folder(again) == hash_folder(made / name)
    assert {path: path.stat().st_mtime_ns for path in work.glob("*/*/*")} == before


@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_no_flat_colour_and_differ(made: Path, name: str):
    samples = [s for block in ("b0", "b1") for s in index_shards(made / name / block, "*.tar")]
    images = np.stack([np.asarray(read_image(sample)) for sample in samples])
    assert len(images) == 8 and len({image.tobytes() for image in images}) == 8
    assert {sample.record["start_image"] for sample in samples} == {"0", "1", "2", "3"}
    has_words = FAMILIES[name].has_words
    assert all(("<style>" in sample.record["prompt"]) == has_words for sample in samples)
    vectors = sorted(path.name for path in (made / name / "style").glob("*.safetensors"))
    of_two = ["s0.safetensors", "s0_2.safetensors"]
    assert vectors == (of_two[: 2 if name == "sdxl" else 1] if has_words else [])


def test_a_killed_run_goes_on(folder: Path, made: Path, tmp_path: Path, monkeypatch):
    """Units that were finished are taken, the others made: the same bytes."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    for name in ("sdxl", "flux2"):
        shutil.copytree(made / "work", tmp_path / "work", dirs_exist_ok=True)
        for unit in sorted((tmp_path / "work").glob("*/*/*"))[::2]:
            shutil.rmtree(unit) if unit.is_dir() else unit.unlink()
        assert hash_folder(run_stages(folder, name, tmp_path / name)) == hash_folder(made / name)
