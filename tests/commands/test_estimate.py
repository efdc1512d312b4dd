"""The command that says what the settings will cost, and what stages say of it."""

import os
import re
import subprocess
import sys

import pytest

from house import ROOT
from synthbridge.commands.estimate import duration
from synthbridge.forecast.estimates import count_work
from synthbridge.forecast.missing_work import Forecast
from synthbridge.forecast.speeds import read_speeds
from synthbridge.params import read_params
from synthbridge.running import console


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


def _table(printed):
    """Return name -> value of the rows: indented, the value behind at least two blanks."""
    rows = (re.fullmatch(r"  (\S.*?) {2,}(\S.*)", line) for line in printed.splitlines())
    return {row[1]: row[2] for row in rows if row}


def _seconds(words):
    """Read a duration back."""
    units = {"s": 1, "min": 60, "h": 3600}
    parts = words.split()
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return sum(float(number) * units[unit] for number, unit in pairs)


def _number(words):
    return float(words.replace(",", ""))


def test_the_default_from_nothing(tmp_path):
    result = _run(
        SYNTHBRIDGE_WORK=str(tmp_path), SYNTHBRIDGE_PROCESSES="2", CUDA_VISIBLE_DEVICES=""
    )
    assert result.returncode == 0, result.stderr
    table = _table(result.stdout)
    params = read_params(ROOT / "params.yaml")
    work = count_work(params)
    assert _number(table["images to draw"]) == work.totals()["drawn_image"]
    stages = {stage.stage for stage in work.stages}
    in_all = _seconds(table["in all"])
    assert sum(_seconds(table[stage]) for stage in stages) == pytest.approx(in_all, rel=0.02)
    assert 0 < float(table["core-hours"]) <= 2 * in_all / 3600 * 1.01
    assert not any(tmp_path.iterdir())  # it makes nothing


def test_the_paper_on_two_nodes_and_one_stage_of_it(tmp_path):
    paper = ("--params", "profiles/paper.yaml", "--speeds", "h200", "--gpus", "8")
    one, two = (
        _run(*paper, "--nodes", nodes, SYNTHBRIDGE_WORK=str(tmp_path)) for nodes in ("1", "2")
    )
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert read_speeds()["h200"].origin in two.stdout
    one, two = _table(one.stdout), _table(two.stdout)
    assert _seconds(one["in all"]) / 2 <= _seconds(two["in all"]) < _seconds(one["in all"])
    assert float(two["from the hub, GB"]) == pytest.approx(4.3, abs=0.05)
    blocks = _table(_run("generate", *paper, SYNTHBRIDGE_WORK=str(tmp_path)).stdout)
    in_all = _seconds(blocks.pop("in all"))
    assert all(name.startswith("generate@aircraft-") for name in blocks)
    assert sum(map(_seconds, blocks.values())) == pytest.approx(in_all, rel=0.02)
    assert in_all == pytest.approx(_seconds(one["generate"]), rel=0.02)


def test_named_speeds_are_those_of_one_gpu(tmp_path):
    """Whatever this machine has."""
    paper = ("--params", "profiles/paper.yaml", "--speeds", "h200")
    here = {"SYNTHBRIDGE_WORK": str(tmp_path), "SYNTHBRIDGE_PROCESSES": "8"}
    one = _run(*paper, **here)
    assert "1 process; speeds of " in one.stdout
    assert one.stdout == _run(*paper, "--gpus", "1", **here).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--speeds", "h200", "--gpus", "0"], "--gpus is 0; give a whole number above 0"),
        (["--nodes", "-1"], "--nodes is -1; give a whole number above 0"),
        (["generat"], "'generat' is no stage of this pipeline; choose from upstream, prepare"),
        (["--speeds", "tpu"], "'tpu' are no known speeds; choose from cpu, h200"),
        (
            ["--params", "profiles/paper.yaml"],
            "or name others by --speeds (cpu, h200, t4, l4, a10, rtx3090, rtx4090, a100, h100)",
        ),
    ],
)
def test_a_fault_is_a_sentence(tmp_path, arguments, sentence):
    result = _run(*arguments, SYNTHBRIDGE_WORK=str(tmp_path), CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 1
    assert sentence in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("found", [Forecast(12.4, "a machine, measured today"), None])
def test_a_stage_compares_its_forecast_with_what_it_took(capsys, tmp_path, monkeypatch, found):
    """Without speeds it says what it took alone."""
    monkeypatch.setattr(console, "forecast", lambda *_: found)
    stage = console.Console()
    stage.begin("stage: begins")
    stage.expect("stage", {})
    stage.done("things", tmp_path)
    begins, *expected, ends = capsys.readouterr().out.splitlines()
    assert begins == "stage: begins"
    if found:
        assert expected == ["  about 12 s, by the speeds of a machine, measured today"]
        assert ends == f"made things in 0.0 s (12.4 s were estimated): {tmp_path}"
    else:
        assert expected == [] and ends == f"made things in 0.0 s: {tmp_path}"
