"""The command that says what the settings will cost, and what stages say of it."""

import os
import subprocess
import sys

import pytest

from house import ROOT
from synthbridge.commands.estimate import duration
from synthbridge.core.log import StageLog


def _run(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "src"), "estimate", *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_durations_as_people_write_them():
    assert duration(8.25) == "8.25 s"
    assert duration(470) == "7 min 50 s"
    assert duration(2.9 * 3600) == "2 h 54 min"


def test_the_default_from_nothing(tmp_path):
    result = _run(
        SYNTHBRIDGE_WORK=str(tmp_path), SYNTHBRIDGE_PROCESSES="2", CUDA_VISIBLE_DEVICES=""
    )
    assert result.returncode == 0, result.stderr
    for words in ("images to draw", "finetune_bridged", "in all", "core-hours", "2 processes"):
        assert words in result.stdout
    assert not any(tmp_path.iterdir())  # it makes nothing


def test_the_paper_on_two_nodes_and_one_stage_of_it(tmp_path):
    paper = ("--params", "profiles/paper.yaml", "--speeds", "h200", "--gpus", "8", "--nodes", "2")
    result = _run(*paper, SYNTHBRIDGE_WORK=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "2 x 8 processes" in result.stdout and "predicted" in result.stdout
    assert (
        "GPU-hours" in result.stdout
        and "from the hub, GB                         4.3" in result.stdout
    )
    blocks = _run("generate", *paper, SYNTHBRIDGE_WORK=str(tmp_path)).stdout
    assert "generate@aircraft-dsi_full-b1" in blocks and "finetune" not in blocks


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generat"], "'generat' is no stage of this pipeline; choose from upstream, prepare"),
        (["--speeds", "tpu"], "'tpu' are no known speeds; choose from cpu, h200"),
        (["--params", "profiles/paper.yaml"], "or name others by --speeds (cpu, h200)"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path, arguments, sentence):
    result = _run(*arguments, SYNTHBRIDGE_WORK=str(tmp_path), CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 1
    assert sentence in result.stderr and "Traceback" not in result.stderr


def test_a_stage_compares_its_estimate_with_what_it_took(capsys, tmp_path):
    log = StageLog("stage: begins")
    log.expect(12.4, "a machine, measured today")
    log.done("things", tmp_path)
    begins, expected, ends = capsys.readouterr().out.splitlines()
    assert begins == "stage: begins"
    assert expected == "  about 12 s, by the rates of a machine, measured today"
    assert ends == f"made things in 0.0 s (12.4 s were estimated): {tmp_path}"


def test_without_rates_a_stage_says_what_it_took_alone(capsys, tmp_path):
    StageLog("stage: begins").done("things", tmp_path)
    assert "estimated" not in capsys.readouterr().out
