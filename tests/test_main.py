"""The entry: what `--help` says of stages and commands."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from house import ROOT
from own_data import class_folders
from synthbridge.__main__ import COMMANDS, IN_A_CLONE, STAGES


def _help(*arguments):
    command = [sys.executable, "src", *arguments, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_help_lists_every_stage_and_every_command():
    printed = _help()
    for name, what in (COMMANDS | STAGES).items():
        assert re.search(rf"(?m)^  {name} +{re.escape(what)}$", printed)
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_an_example(name):
    printed = _help(name)
    assert f"usage: python src {name}" in printed
    assert re.search(rf"(?m)^    python src {name}\b", printed)


@pytest.mark.parametrize("name", IN_A_CLONE)
def test_outside_a_clone_a_command_says_where_to_run_it(name, tmp_path):
    done = _python_src(tmp_path, name, "birds", str(tmp_path), "--gpu", "none", "--yes")
    assert done.returncode == 1 and done.stdout == ""
    assert f"{name}: {tmp_path} holds no dvc.yaml; run it in a clone of the repo" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_estimate_of_a_file_that_is_named_needs_no_clone(tmp_path):
    file = str(ROOT / "params.yaml")
    done = _python_src(tmp_path, "estimate", "--params", file, "--speeds", "cpu")
    assert done.returncode == 0 and "gradient steps" in done.stdout


def _python_src(folder, *arguments, **options):
    command = [sys.executable, str(ROOT / "src"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


@pytest.fixture
def started(tmp_path):
    """Starts `start` on photographs in a terminal of its own, and waits for its first question."""
    ours, theirs = pty.openpty()
    photos = class_folders(tmp_path / "photos")
    (tmp_path / "dvc.yaml").touch()  # in place of a clone: it asks before it reads more
    command = [sys.executable, str(ROOT / "src"), "start", "birds", str(photos), "--dry-run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    _read_until(ours, "[copy]")
    yield process, ours
    process.kill()
    process.wait()
    os.close(ours)


def _read_until(terminal: int, wanted: str | None) -> str:
    """Read what a terminal shows until `wanted` stands there; None: to its end."""
    shown, end = "", time.monotonic() + 300
    while wanted is None or wanted not in shown:
        assert select.select([terminal], [], [], end - time.monotonic())[0], shown
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # nobody has the other side open
            assert wanted is None, shown
            break
    return shown


def test_ctrl_c_ends_with_a_sentence_and_as_the_signal_does(started, tmp_path):
    """So that a shell's status is 130, and a loop ends."""
    process, terminal = started
    process.send_signal(signal.SIGINT)
    while not select.select([terminal], [], [], 10)[0]:  # readline misses one as it begins to wait
        process.send_signal(signal.SIGINT)
    shown = _read_until(terminal, None)
    assert "start: stopped" in shown and "Traceback" not in shown
    assert process.wait(60) == -signal.SIGINT
    assert not list(tmp_path.glob(".start-*"))


def test_ctrl_d_ends_with_a_sentence(started):
    process, terminal = started
    os.write(terminal, b"\x04")
    shown = _read_until(terminal, None)
    assert "start: nobody answers; say --put" in shown and "Traceback" not in shown
    assert process.wait(60) == 1
