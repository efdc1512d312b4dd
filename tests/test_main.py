"""The entry: what `--help` says of stages and commands."""

import re
import subprocess
import sys

import pytest

from house import ROOT
from synthbridge.__main__ import COMMANDS, STAGES


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
