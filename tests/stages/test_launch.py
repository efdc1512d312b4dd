import os
import sys
import time
from pathlib import Path

import pytest

from synthbridge.stages import launch


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("SYNTHBRIDGE_PROCESSES", "SYNTHBRIDGE_LAUNCHER", "RANK", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_number_of_processes(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch.num_processes("generate") == len(os.sched_getaffinity(0))
    assert launch.num_processes("prepare") == 1
    assert launch.num_processes("upstream") == min(2, len(os.sched_getaffinity(0)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    assert launch.num_processes("generate") == 3
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "2")
    assert launch.num_processes("generate") == 2
    monkeypatch.setenv("RANK", "1")  # started by a launcher already
    assert launch.num_processes("generate") == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", wrong)
    with pytest.raises(ValueError, match=f"SYNTHBRIDGE_PROCESSES is '{wrong}'"):
        launch.num_processes("bridge")


def _script(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(f"import os, sys, time, pathlib\nrank = os.environ['RANK']\n{text}\n")
    return [str(path)]


def test_every_process_knows_its_place(tmp_path):
    text = f"pathlib.Path({str(tmp_path)!r}, rank).write_text(os.environ['WORLD_SIZE'])"
    assert launch.run_processes(3, _script(tmp_path, text)) == 0
    assert [(tmp_path / rank).read_text() for rank in "012"] == ["3"] * 3


def test_a_lost_process_stops_the_others_and_is_named(tmp_path, capfd):
    start = time.monotonic()
    command = _script(tmp_path, "sys.exit(7) if rank == '1' else time.sleep(60)")
    assert launch.run_processes(2, command) == 7
    assert time.monotonic() - start < 30
    assert "process 1 of 2 ended with status 7" in capfd.readouterr().err


def test_the_process_that_failed_is_named_not_the_one_that_waited_for_it(tmp_path, capfd):
    source = Path(launch.__file__).parents[2]
    text = f"""
sys.path.insert(0, {str(source)!r})
from synthbridge.stages import launch
from synthbridge.stages.processes import start_accelerator
try:
    with start_accelerator(cpu=True):
        if rank == "1":
            sys.exit(7)
except RuntimeError as error:
    sys.exit(launch.LOST_ANOTHER if launch.has_lost_another(error) else 9)
"""
    assert launch.run_processes(2, _script(tmp_path, text)) == 7
    assert "process 1 of 2 ended with status 7" in capfd.readouterr().err


def test_a_launcher_of_the_users_starts_the_processes(tmp_path, monkeypatch):
    starter = tmp_path / "starter.py"
    starter.write_text("import sys; print('started', *sys.argv[1:]); sys.exit(5)")
    monkeypatch.setenv("SYNTHBRIDGE_LAUNCHER", f"{sys.executable} {starter}")
    assert launch.run_processes(4, ["src", "generate"]) == 5
