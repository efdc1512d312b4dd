"""Every family through the stages: two processes, blocks up and down, nothing drawn twice."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evidence.reading_pages import Page
from evidence.simulated import SETTINGS, simulate_runs, write_pictures
from families import FAMILIES, run_stages, write_all

from house import ROOT
from synthbridge.core.files import hash_folder, read_json
from synthbridge.data.shards import index_shards, read_image
from synthbridge.stages.report import report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of every family, and each one's work folder."""
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        for name in FAMILIES:
            patch.setenv("SYNTHBRIDGE_WORK", str(out / "work" / name))
            run_stages(folder, name, out / name)
    return out


@pytest.fixture
def work(made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a family's work folder, in use."""
    copy = shutil.copytree(made / "work" / name, tmp_path / "work")
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(copy))
    return copy


def times(work: Path) -> dict[Path, int]:
    """Return when each unit of work was made."""
    return {path: path.stat().st_mtime_ns for path in work.glob("*/*/*")}


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
def test_blocks_up_and_down(folder: Path, made: Path, work: Path, tmp_path: Path, name: str):
    """Fewer images leave the blocks that are left as they were, and draw none; more draw again."""
    before = times(work)
    fewer = run_stages(folder, name, tmp_path / "fewer", images_per_class=2)
    assert hash_folder(fewer / "b0") == hash_folder(made / name / "b0")
    assert read_json(fewer / "b1/index.json") == {"num_images": 0}
    again = run_stages(folder, name, tmp_path / "again")
    assert hash_folder(again) == hash_folder(made / name)
    assert times(work) == before


@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_no_flat_colour_and_differ(made: Path, name: str):
    samples = [s for block in ("b0", "b1") for s in index_shards(made / name / block, "*.tar")]
    images = np.stack([np.asarray(read_image(sample)) for sample in samples])
    assert len(images) == 8 and len({image.tobytes() for image in images}) == 8
    starts = {sample.record.get("start_image") for sample in samples}
    tuned, has_words = FAMILIES[name].tuned, FAMILIES[name].has_words
    assert starts == ({None} if tuned else {"0", "1", "2", "3"})
    assert all(("<style>" in sample.record["prompt"]) == has_words for sample in samples)
    vectors = sorted(path.name for path in (made / name / "style").glob("*.safetensors"))
    of_two = ["s0.safetensors", "s0_2.safetensors"]
    loras = {"class": ["s0_lora-0000.safetensors", "s0_lora-0001.safetensors"]}
    of_set = {**loras, "dataset": ["s0_lora.safetensors"]}.get(tuned or "", [])
    assert vectors == (of_two[: 2 if name == "sdxl" else 1] if has_words else of_set)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_killed_run_goes_on(folder: Path, made: Path, work: Path, tmp_path: Path, name: str):
    """Units that were finished are taken, the others made: the same bytes."""
    units = sorted(times(work))
    for unit in units[::2]:
        shutil.rmtree(unit) if unit.is_dir() else unit.unlink()
    left = times(work)
    assert hash_folder(run_stages(folder, name, tmp_path / name)) == hash_folder(made / name)
    after = times(work)
    assert sorted(after) == units and left.items() <= after.items()


def test_a_report_shows_what_two_families_drew(made: Path, tmp_path: Path):
    """Beside simulated runs and real images, of ten classes; two of them were drawn."""
    simulate_runs(tmp_path / "final", num_test=80, shots=[4], seeds=[0, 1])
    write_pictures(tmp_path / "real/train-00000.tar", 10)
    drawn_by = {"dsi_4": "sdxl", "template": "flux2, tuned"}
    report(
        SETTINGS,
        dataset="digits",
        final=[tmp_path / "final"],
        styles={name: made / family / "style" for name, family in drawn_by.items()},
        real=tmp_path / "real",
        blocks={name: made / family / "b0" for name, family in drawn_by.items()},
        out=tmp_path / "metrics",
    )
    with (tmp_path / "metrics/style_loss.csv").open(newline="") as file:
        steps = {(row["set"], int(row["step"])) for row in csv.DictReader(file)}
    # The readings of a style token after none, one and two steps; of a LoRA's four, first and last.
    assert {("dsi_4", 0), ("dsi_4", 2), ("template", 0), ("template", 4)} <= steps
    page = Page(tmp_path / "metrics/report.html")
    for family in drawn_by.values():
        sample = next(iter(index_shards(made / family / "b0", "*.tar")))
        assert sample.record["prompt"] in page.text_below("What was trained")
    assert (tmp_path / "metrics/plots/grid.png").is_file()
