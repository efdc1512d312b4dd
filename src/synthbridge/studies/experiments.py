"""DVC experiments of studies: found in git by their names, run a few at a time, recorded.

An experiment is named study-<hash of what its stages compute>, so two studies that need the same
point share it. `dvc exp run --temp` runs it in a folder of its own. We do not use DVC's queue: in
3.67 it reports a killed worker as running for ever, never starts its task again and never frees its
name. Our queue is a list; git knows which of its items are finished.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from synthbridge.core.files import read_json, write_json
from synthbridge.core.log import say
from synthbridge.core.units import work_folder
from synthbridge.studies.collect import PointResult

RECORDS = Path("metrics/studies/points")  # small files of what each experiment found, in git
PREFIX = "study-"
TRACKED = ("params.yaml", "dvc.yaml", "dvc.lock", "src")  # what an experiment starts from


@dataclass(frozen=True)
class Experiment:
    """One point of a study, or of several."""

    name: str  # study-<hash>; equal where targets and all that decides them are equal
    targets: tuple[str, ...]
    options: tuple[str, ...]  # of dvc exp run -S
    metrics: tuple[str, ...]  # the git-tracked files that its targets write
    keys: frozenset[str]  # of the stages that it runs anew

    @property
    def record(self) -> Path:
        """Where its results lie."""
        return RECORDS / f"{self.name}.json"


def set_options(overrides: Mapping[str, Any], exists: Mapping[str, Any]) -> list[str]:
    """Write overrides as options of `dvc exp run -S`.

    Args:
        overrides: dotted key -> new value. A group replaces the whole old group.
        exists: dotted key -> the value in params.yaml; no entry where it has none.
    """
    options = []
    for key, value in overrides.items():
        is_group = isinstance(value, Mapping) or isinstance(exists.get(key), Mapping)
        if key in exists and is_group:
            options.append(f"~{key}")  # -S merges groups
        sign = "" if key in exists and not is_group else "+"
        options.append(f"{sign}{key}={_word(value)}")
    return options


def _word(value: Any) -> str:
    """Write a value in Hydra's grammar, which -S reads."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_word(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return json.dumps(value)


def find_commit(name: str) -> str | None:
    """Return the commit of a finished experiment of this repository, whatever it started from."""
    pattern = f"refs/exps/*/*/{name}"
    return _git("for-each-ref", "--format=%(objectname)", pattern).split("\n")[0] or None


def _git(*words: str) -> str:
    result = subprocess.run(("git", *words), capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(f"git {words[0]}: {result.stderr.strip()}")
    return result.stdout.strip()


def is_known(experiment: Experiment) -> bool:
    """Say whether an experiment's results are here, as a record or in git."""
    return experiment.record.is_file() or find_commit(experiment.name) is not None


def read_found(experiment: Experiment) -> PointResult:
    """Return what a known experiment found; record it first if only git knows it.

    Raises:
        ValueError: if the experiment lacks a file that its targets write.
    """
    if not experiment.record.is_file():
        commit = find_commit(experiment.name)
        assert commit is not None
        metrics = {
            path: json.loads(_git("show", f"{commit}:{path}")) for path in experiment.metrics
        }
        about = {"targets": list(experiment.targets), "options": list(experiment.options)}
        write_json(experiment.record, {"commit": commit, "metrics": metrics, **about})
    record = read_json(experiment.record)
    return PointResult(experiment.name, record["commit"], record["metrics"])


def workspace_commit() -> str:
    """Return the commit of the workspace's own results."""
    return _git("log", "-1", "--format=%H", "--", "dvc.lock")


def refuse_changes() -> None:
    """Check that everything an experiment starts from is committed.

    Raises:
        ValueError: if it is not, or if the workspace's results are not up to date.
    """
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *TRACKED)
    if changed:
        names = ", ".join(re.findall(r"\S+$", changed, re.MULTILINE))
        raise ValueError(f"git has not kept the changes of {names}; commit them first")
    if subprocess.run([*_DVC, "status", "--quiet"], check=False, env=_environment(1)).returncode:
        raise ValueError(
            "the workspace's own results are not up to date, and every study compares with them; "
            "run 'dvc repro' and commit dvc.lock and metrics first ('dvc status' says what changed)"
        )


_DVC = (sys.executable, "-m", "dvc")


def _environment(jobs: int) -> dict[str, str]:
    """Return the environment of an experiment: the same work folder for all, one process each."""
    binaries = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",  # whose python runs stages
        "SYNTHBRIDGE_WORK": str(work_folder()),
        "SYNTHBRIDGE_STUDY": "1",
    }
    if jobs > 1:
        environment.setdefault("SYNTHBRIDGE_PROCESSES", "1")
    return environment


@contextmanager
def only_study() -> Iterator[int]:
    """Hold the lock of this repository's studies and yield its file; wait while another holds it.

    Experiments keep the file open: those of a killed study may still run, and the next study waits
    for them. Then the temporary folders that a killed study left are removed.
    """
    path = work_folder() / "studies" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another study, or for what a killed one left running")
            fcntl.flock(file, fcntl.LOCK_EX)
        _remove_leftovers()
        yield file.fileno()


def _remove_leftovers() -> None:
    """Remove the temporary folders of experiments that were killed."""
    for info in Path(".dvc/tmp/exps/standalone/run").glob("*/*.run"):
        with suppress(ValueError, OSError):
            facts = read_json(info)
            if str(facts["name"]).startswith(PREFIX):
                shutil.rmtree(facts["root_dir"], ignore_errors=True)


@dataclass
class _Running:
    experiment: Experiment
    process: subprocess.Popen
    log: Path
    file: IO[str]
    began: float

    def is_under_way(self) -> bool:
        """Say whether DVC has copied the workspace, so that another experiment may start."""
        return "Reproducing" in self.log.read_text() or self.process.poll() is not None


def run_experiments(wanted: Sequence[Experiment], jobs: int, lock: int) -> list[str]:
    """Run the experiments that are not known yet; return the names of those that failed.

    If two need the same stage, the second waits until the first has made it.

    Args:
        wanted: the experiments, each once.
        jobs: how many at a time.
        lock: the open file of `only_study`.
    """
    experiments = [item for item in wanted if not is_known(item)]
    made = set[str]().union(*(item.keys for item in wanted if item not in experiments))
    if experiments:
        say(f"study: {len(experiments)} experiments, {jobs} at a time")
    waiting, running, failed = list(experiments), [], []
    try:
        while waiting or running:
            for ended in [item for item in running if item.process.poll() is not None]:
                running.remove(ended)
                if _has_ended_well(ended):
                    made |= ended.experiment.keys
                else:
                    failed.append(ended.experiment.name)
                done = len(experiments) - len(waiting) - len(running)
                seconds = time.monotonic() - ended.began
                say(f"  {done} of {len(experiments)}: {ended.experiment.name}, {seconds:.0f} s")
            busy = set[str]().union(*(item.experiment.keys for item in running)) - made
            free = [item for item in waiting if not item.keys & busy]
            if free and len(running) < jobs and all(item.is_under_way() for item in running):
                waiting.remove(free[0])
                running.append(_start(free[0], jobs, lock))
            time.sleep(0.2)
    finally:
        for item in running:
            item.process.terminate()
    return failed


def _start(experiment: Experiment, jobs: int, lock: int) -> _Running:
    log = work_folder() / "studies" / f"{experiment.name}.log"
    options = [word for option in experiment.options for word in ("-S", option)]
    command = (*_DVC, "exp", "run", "--temp", "--name", experiment.name, *options)
    file = log.open("w")
    process = subprocess.Popen(
        [*command, *experiment.targets],
        stdout=file,
        stderr=subprocess.STDOUT,
        env=_environment(jobs),
        pass_fds=[lock],
    )
    return _Running(experiment, process, log, file, time.monotonic())


def _has_ended_well(ended: _Running) -> bool:
    ended.file.close()
    if ended.process.returncode == 0 and is_known(ended.experiment):
        return True
    lines = [line for line in ended.log.read_text().splitlines() if line.strip()]
    why = next((line for line in reversed(lines) if not line.startswith("ERROR")), "no word")
    say(f"  {ended.experiment.name} failed: {why} ({ended.log})")
    return False
