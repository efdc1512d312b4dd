import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthbridge.running import launch


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SYNTHBRIDGE_") or name in ("RANK", "CUDA_VISIBLE_DEVICES", "DVC_STAGE"):
            monkeypatch.delenv(name)


def test_number_of_processes(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch.num_processes("generate") == len(os.sched_getaffinity(0))
    assert launch.num_processes("upstream") == min(2, len(os.sched_getaffinity(0)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    assert launch.num_processes("generate") == 3
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "2")
    assert launch.num_processes("generate") == 2


def test_what_runs_in_place(monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "3")
    monkeypatch.setenv("SYNTHBRIDGE_LAUNCHER", "false")
    for light in ("prepare", "plan", "report"):
        assert launch.start_processes(light, ["src", light]) is None
    monkeypatch.setenv("RANK", "1")  # started by a launcher already
    assert launch.start_processes("generate", ["src", "generate"]) is None
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("SYNTHBRIDGE_LAUNCHER")
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "1")
    assert launch.start_processes("generate", ["src", "generate"]) is None


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
from synthbridge.running import launch
from synthbridge.core.processes import start_accelerator
try:
    with start_accelerator(cpu=True):
        if rank == "1":
            sys.exit(7)
except RuntimeError as error:
    sys.exit(launch.end_after_another() if launch.has_lost_another(error) else 9)
"""
    assert launch.run_processes(2, _script(tmp_path, text)) == 7
    assert "process 1 of 2 ended with status 7" in capfd.readouterr().err


@pytest.fixture
def starter(tmp_path, monkeypatch):
    """A launcher that says what it starts, and fails."""
    path = tmp_path / "starter.py"
    path.write_text("import sys; print('started', *sys.argv[1:]); sys.exit(5)")
    monkeypatch.setenv("SYNTHBRIDGE_LAUNCHER", f"{sys.executable} {path}")


def test_a_launcher_of_the_users_starts_the_processes(starter, monkeypatch, capfd):
    """Also on a machine with one GPU: there may be others."""
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "1")
    assert launch.start_processes("generate", ["src", "generate"]) == 5
    printed = capfd.readouterr()
    assert "started src generate" in printed.out
    assert "the launcher ended with status 5; finished work is kept" in printed.err


def test_upstream_needs_no_launcher(starter, tmp_path, monkeypatch):
    """It trains two models at a time on the CPU: sixteen processes would have nothing to do."""
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "2")
    text = f"pathlib.Path({str(tmp_path)!r}, rank).write_text('')"
    assert launch.start_processes("upstream", _script(tmp_path, text)) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"0", "1"}


def test_a_stopped_run_stops_its_launcher(tmp_path):
    """SIGTERM, as Slurm sends it, must not leave the launcher's processes behind."""
    source = Path(launch.__file__).parents[2]
    mark = tmp_path / "mark"
    launcher = [sys.executable, "-c", f"import time; open({str(mark)!r}, 'w'); time.sleep(60)"]
    program = f"import sys; sys.path.insert(0, {str(source)!r})\n"
    program += f"from synthbridge.running.launch; launch import run_launcher as launch; launch.run_launcher({launcher!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    while not mark.exists():
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=20)  # ends when nobody holds the pipe any more
    assert process.returncode == 143


def _shares(monkeypatch, command, count):
    monkeypatch.setattr(sys, "argv", ["src", *command])
    for number in range(1, count + 1):
        monkeypatch.setenv("SYNTHBRIDGE_SHARE", f"{number}/{count}")
        first, step = launch.read_share()
        yield list(range(10))[first::step]


@pytest.mark.parametrize("count", [1, 3, 4, 12])
def test_shares_are_disjoint_and_make_the_whole(monkeypatch, count):
    shares = list(_shares(monkeypatch, ["bridge", "--out", "x"], count))
    assert sorted(unit for share in shares for unit in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_longest_share_is_not_always_the_first(monkeypatch):
    """Three shards over eight tasks, command after command: all eight must get some."""
    firsts = set()
    for block in range(40):
        shares = list(_shares(monkeypatch, ["generate", "--out", f"b{block}"], 8))
        firsts.add([0 in share for share in shares].index(True))
    assert firsts == set(range(8))


@pytest.mark.parametrize("wrong", ["0/8", "9/8", "3", "3/", "-1/8", "a/b", "1/0", "\u0663/8"])
def test_a_wrong_share_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("SYNTHBRIDGE_SHARE", wrong)
    with pytest.raises(ValueError, match=f"SYNTHBRIDGE_SHARE is '{wrong}'; name one share"):
        launch.check_share("bridge")


def test_a_share_of_what_has_none_is_refused(monkeypatch):
    launch.check_share("report")
    launch.end_share()
    monkeypatch.setenv("SYNTHBRIDGE_SHARE", "3/8")
    launch.check_share("bridge")
    with pytest.raises(launch.ShareMade):
        launch.end_share()
    for stage in ("upstream", "prepare", "plan", "probe", "report"):
        with pytest.raises(ValueError, match=f"{stage} is made in one piece; run it without"):
            launch.check_share(stage)
    monkeypatch.setenv("DVC_STAGE", "bridge@digits-template")
    with pytest.raises(ValueError, match="DVC wants whole stages"):
        launch.check_share("bridge")
