"""What docs/sharing.md says of remotes: push, clone, pull, and nothing runs.

A folder always; S3 and SSH on this machine where their packages are installed:
    pip install -c requirements-remotes.txt dvc-s3 dvc-ssh "moto[server]"
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scratch import Scratch

from house import ROOT
from remotes import KINDS, Remote, serve

PIPELINE = """
stages:
  make:
    cmd: python make.py
    deps: [data/raw, make.py]
    outs: [data/made]
"""
MAKE = """
import pathlib, shutil
shutil.copytree("data/raw", "data/made")
"""
NUM_FILES = 30


@pytest.fixture(scope="module", params=KINDS)
def remote(request, tmp_path_factory):
    with serve(request.param, tmp_path_factory.mktemp("server")) as remote:
        yield remote


class Person(Scratch):
    """Somebody with a clone and the settings of the remote."""

    def __init__(self, folder: Path, remote: Remote):
        super().__init__(folder)
        self.remote = remote

    def environment(self, **changes: str) -> dict[str, str]:
        return super().environment(**self.remote.environment, **changes)

    def configure(self) -> None:
        """Say what belongs to a person and not into git: keys, ports, addresses."""
        lines = [f"    {name} = {value}\n" for name, value in self.remote.settings.items()]
        local = self.folder / ".dvc/config.local"  # as `dvc remote modify --local` writes it
        local.write_text("['remote \"team\"']\n" + "".join(lines))

    def clone(self, folder: Path) -> "Person":
        other = Person(folder, self.remote)
        self.run("git", "clone", "-q", str(self.folder), str(folder))
        other.configure()
        return other

    def ran_nothing(self) -> bool:
        return "Running stage" not in self.dvc("repro")


@pytest.fixture(scope="module")
def owner(remote, tmp_path_factory):
    """Somebody with data, a result and everything pushed."""
    owner = Person(tmp_path_factory.mktemp("owner"), remote)
    raw = owner.folder / "data/raw"
    raw.mkdir(parents=True)
    for number in range(NUM_FILES):
        (raw / f"{number}.bin").write_bytes(os.urandom(100_000))
    (owner.folder / "dvc.yaml").write_text(PIPELINE)
    (owner.folder / "make.py").write_text(MAKE)
    owner.git("init", "-q")
    owner.dvc("init", "-q")
    owner.dvc("remote", "add", "-d", "team", remote.url)
    owner.configure()
    owner.dvc("add", "-q", "data/raw")
    owner.dvc("repro", "-q")
    owner.commit()
    owner.dvc("push")
    return owner


def _files(person: Person, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (person.folder / folder).iterdir()}


def test_a_colleague_pulls_and_nothing_runs(owner, tmp_path):
    colleague = owner.clone(tmp_path / "colleague")
    colleague.dvc("pull")
    assert _files(colleague, "data/made") == _files(owner, "data/raw")
    assert colleague.ran_nothing()
    assert "up to date" in colleague.dvc("status")


def test_two_people_push_at_once(owner, tmp_path):
    people = [owner.clone(tmp_path / name) for name in ("one", "two")]
    for number, person in enumerate(people):
        folder = person.folder / f"data/{number}"
        folder.mkdir(parents=True)
        (folder / "same.bin").write_bytes(b"of both" * 9999)  # both send this file
        (folder / "own.bin").write_bytes(os.urandom(200_000))
        person.dvc("add", "-q", f"data/{number}")
    pushes = [
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "push", f"data/{number}.dvc"],
            cwd=person.folder,
            env=person.environment(),
        )
        for number, person in enumerate(people)
    ]
    assert [push.wait(120) for push in pushes] == [0, 0]
    third = owner.clone(tmp_path / "third")
    for number, person in enumerate(people):
        name = f"data/{number}.dvc"
        (third.folder / name).write_bytes((person.folder / name).read_bytes())
        third.dvc("pull", name)
        assert _files(third, f"data/{number}") == _files(person, f"data/{number}")


def test_a_pull_that_breaks_goes_on(owner, tmp_path):
    colleague = owner.clone(tmp_path / "colleague")
    cache = colleague.folder / ".dvc/cache/files"
    pull = subprocess.Popen(
        [sys.executable, "-m", "dvc", "pull", "-j", "1"],
        cwd=colleague.folder,
        env=colleague.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while pull.poll() is None and not any(path.is_file() for path in cache.rglob("*")):
        time.sleep(0.01)
    pull.kill()
    pull.wait()
    colleague.dvc("pull")
    assert _files(colleague, "data/made") == _files(owner, "data/made")
    assert colleague.ran_nothing()


def test_line_ends_stay_as_they_are_committed(tmp_path):
    """Git on Windows would change them (core.autocrlf), and with them the hashes that DVC keeps."""
    person = Scratch(tmp_path / "owner")
    person.folder.mkdir()
    (person.folder / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    (person.folder / "params.yaml").write_bytes(b"seed: 0\n")
    person.git("init", "-q")
    person.commit()
    person.git("clone", "-q", "-c", "core.autocrlf=true", ".", str(tmp_path / "clone"))
    assert (tmp_path / "clone/params.yaml").read_bytes() == b"seed: 0\n"
