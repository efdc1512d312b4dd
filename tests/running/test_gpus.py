"""Runs beside one another on a machine whose GPUs are names only: the picking, not the devices."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthbridge.running import gpus

RUN = """
import os, sys, time
from pathlib import Path
from synthbridge.running.gpus import take_gpus
held = take_gpus()
start = time.monotonic()
time.sleep(float(sys.argv[2]))
text = f"{os.environ['CUDA_VISIBLE_DEVICES']} {start} {time.monotonic()}"
Path(sys.argv[1], f"{os.getpid()}.partial").write_text(text)
Path(sys.argv[1], f"{os.getpid()}.partial").rename(Path(sys.argv[1], f"{os.getpid()}.done"))
"""


def _start(folder, seconds, *, each, visible="0,1", program=RUN):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(gpus.__file__).parents[2]),
        "TMPDIR": str(folder),
        "CUDA_VISIBLE_DEVICES": visible,
        "SYNTHBRIDGE_GPUS_EACH": str(each),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def _readings(folder):
    """What every run held: its GPUs, from when, until when."""
    for path in folder.glob("*.done"):
        names, start, stop = path.read_text().split()
        yield set(names.split(",")), float(start), float(stop)


@pytest.mark.parametrize("wants", [[1] * 8, [1, 2, 1, 2, 1, 2], [2] * 4])
def test_no_two_runs_hold_a_gpu_at_once(tmp_path, wants):
    runs = [_start(tmp_path, 0.2, each=each) for each in wants]
    assert [run.wait(timeout=60) for run in runs] == [0] * len(wants)
    readings = list(_readings(tmp_path))
    assert sorted(len(names) for names, _, _ in readings) == sorted(wants)
    overlaps = 0
    for i, (names, start, stop) in enumerate(readings):
        assert names <= {"0", "1"}
        for others, other_start, other_stop in readings[:i]:
            if start < other_stop and other_start < stop:
                assert not names & others
                overlaps += 1
    assert overlaps or 2 in wants  # runs with one GPU each do run beside one another


def test_a_killed_run_leaves_its_gpu_free(tmp_path):
    first = _start(tmp_path, 60, each=1, visible="7")
    assert first.stdout.readline() == "  on GPU 7\n"
    second = _start(tmp_path, 0, each=1, visible="7")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=1)
    first.send_signal(signal.SIGKILL)
    assert second.wait(timeout=30) == 0


def test_a_gpu_is_held_until_the_last_process_of_a_run_ends(tmp_path):
    """The process that took it is killed; one that it started still computes."""
    parent = """
import os, sys, time
from synthbridge.running.gpus import take_gpus
from synthbridge.running.launch import run_processes
os.environ.pop("RANK", None)
run_processes(1, ["-c", "import time; time.sleep(3)"], take_gpus())
"""
    first = _start(tmp_path, 0, each=1, visible="7", program=parent)
    assert first.stdout.readline() == "  on GPU 7\n"
    time.sleep(0.5)
    first.kill()
    start = time.monotonic()
    assert _start(tmp_path, 0, each=1, visible="7").wait(timeout=30) == 0
    assert time.monotonic() - start > 1.5


def test_without_the_variable_all_gpus_stay_visible(monkeypatch):
    monkeypatch.delenv("SYNTHBRIDGE_GPUS_EACH", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert gpus.take_gpus() == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize("wrong", ["0", "3", "one", "-1"])
def test_a_wrong_number_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("SYNTHBRIDGE_GPUS_EACH", wrong)
    with pytest.raises(ValueError, match=f"GPUS_EACH is '{wrong}', and this machine shows 2 GPUs"):
        gpus.take_gpus()


def test_names_of_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a2b, 3,-1")
    assert gpus.visible_gpus() == ["GPU-8a2b", "3"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible_gpus() == []
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: A'\necho '  MIG 1g: B'\necho 'GPU 1: A'\n")
    listing.chmod(0o755)
    assert gpus.visible_gpus() == ["0", "1"]
