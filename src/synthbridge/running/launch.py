"""How many processes run a stage, and how they start. Hardware is no parameter: docs/many-gpus.md.

SYNTHBRIDGE_PROCESSES=8   so many processes (default: one a GPU; without GPUs one a core)
SYNTHBRIDGE_LAUNCHER=...  a command that starts them: "accelerate launch --config_file X"
SYNTHBRIDGE_SHARE=3/8     only the third of eight shares of a stage's units of work
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from synthbridge.core.shares import read_share
from synthbridge.running.gpus import take_gpus, visible_gpus

# Stages whose units of work (shards, training runs) several processes take from one list.
PARALLEL_STAGES = (
    "upstream",
    "invert",
    "generate",
    "retrieve",
    "sift",
    "select",
    "bridge",
    "finetune",
    "probe",
)
# Those of them that leave every unit in the work folder, where another run finds it.
SHARED_STAGES = ("invert", "generate", "retrieve", "sift", "select", "bridge", "finetune")

LOST_ANOTHER = 75  # exit status of a process that stops because another one has ended
SECONDS_FOR_ANOTHER = 5.0  # which that one has for ending first


def wants_traceback() -> bool:
    """Say whether the user asked for the place of an error as well as its sentence."""
    return os.environ.get("SYNTHBRIDGE_TRACEBACK") == "1"


def check_share(stage: str) -> None:
    """Check that a share of this stage can be made, if one is asked for.

    Raises:
        ValueError: if not, with what to do.
    """
    if "SYNTHBRIDGE_SHARE" not in os.environ:
        return
    read_share()
    if stage not in SHARED_STAGES:
        raise ValueError(
            f"SYNTHBRIDGE_SHARE is set, but {stage} is made in one piece; run it without "
            f"(shares: {', '.join(SHARED_STAGES)})"
        )
    if "DVC_STAGE" in os.environ:
        raise ValueError(
            "SYNTHBRIDGE_SHARE is set, but DVC wants whole stages; unset it, or run "
            "the stage's command without DVC (docs/many-gpus.md)"
        )


def start_processes(stage: str, command: list[str]) -> int | None:
    """Run `command` (this program and its arguments) in the processes that the stage may have.

    Returns:
        An exit status; None if it is for this process to run the stage.

    Raises:
        ValueError: if an environment variable asks for what cannot be.
    """
    if stage not in PARALLEL_STAGES or "RANK" in os.environ:
        return None  # RANK: a launcher (accelerate, torchrun, ours) started us already
    held: list[int] = []
    if stage != "upstream":  # which trains on the CPU, two models at a time: no launcher's work
        held = take_gpus()
        if launcher := os.environ.get("SYNTHBRIDGE_LAUNCHER"):
            return run_launcher([*shlex.split(launcher), *command], held)
    count = num_processes(stage)
    return run_processes(count, command, held) if count > 1 else None


def num_processes(stage: str) -> int:
    """Return how many processes a stage may have without a launcher.

    Raises:
        ValueError: if SYNTHBRIDGE_PROCESSES is no whole number above 0.
    """
    wanted = os.environ.get("SYNTHBRIDGE_PROCESSES")
    if wanted is None:
        num_cores = len(os.sched_getaffinity(0))
        return min(2, num_cores) if stage == "upstream" else len(visible_gpus()) or num_cores
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"SYNTHBRIDGE_PROCESSES is '{wanted}'; give a whole number above 0")
    return int(wanted)


def run_launcher(command: list[str], held: Sequence[int] = ()) -> int:
    """Run a launcher to its end; it names the rank that failed. Returns its exit status."""
    _stop_on_sigterm()
    launcher = subprocess.Popen(command, pass_fds=held)
    try:
        status = launcher.wait()
    finally:
        launcher.terminate()  # it stops its processes
    if status:
        _say_stopped("the launcher", status)
    return 1 if status < 0 else status


def run_processes(count: int, command: list[str], held: Sequence[int] = ()) -> int:
    """Run `command` in `count` processes of this machine; return an exit status.

    If one fails the others are stopped, and its rank is named. `held` stays open in them.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _stop_on_sigterm()
    team = [
        subprocess.Popen(
            [sys.executable, *command], env=_environment(rank, count, port), pass_fds=held
        )
        for rank in range(count)
    ]
    try:
        return _wait(team)
    finally:
        for process in team:
            process.kill()


def _stop_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    """Return what torch.distributed and accelerate read, for one process of this machine."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Each process has one core: two torch threads on one core spin against each other.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def has_lost_another(error: RuntimeError) -> bool:
    """Say whether this process of several fails because the connection to another has gone."""
    return "RANK" in os.environ and "peer" in str(error)  # gloo: "Connection closed by peer"


def end_after_another() -> int:
    """Return LOST_ANOTHER, but late.

    The one that failed may still be ending, and whoever watches the processes, also a launcher
    that is not ours, names the one that has ended first.
    """
    time.sleep(SECONDS_FOR_ANOTHER)
    return LOST_ANOTHER


def _wait(team: list[subprocess.Popen]) -> int:
    """Wait until all processes have ended well (0) or one has failed (its status)."""
    while True:
        statuses = [process.poll() for process in team]
        failed = {rank: status for rank, status in enumerate(statuses) if status}
        if failed:
            # The others notice that one has gone: the one to name is the first to fail.
            rank = min(failed, key=lambda rank: failed[rank] == LOST_ANOTHER)
            _say_stopped(f"process {rank} of {len(team)}", failed[rank])
            return 1 if failed[rank] < 0 else failed[rank]
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(0.05)


def _say_stopped(who: str, status: int) -> None:
    how = f"status {status}" if status > 0 else signal.Signals(-status).name
    way_out = "finished work is kept, the next run resumes there"
    print(f"{who} ended with {how}; {way_out}", file=sys.stderr)
