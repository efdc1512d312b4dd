"""How many processes run a stage, and how they start. Hardware is no parameter: see the README.

SYNTHBRIDGE_PROCESSES=8   so many processes (default: one a GPU; without GPUs one a core)
SYNTHBRIDGE_LAUNCHER=...  a command that starts them: "accelerate launch --config_file X"
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

# Stages whose units of work (shards, training runs) several processes take from one list.
PARALLEL_STAGES = (
    "upstream", "invert", "generate", "select", "bridge", "finetune", "probe",
)  # fmt: skip

LOST_ANOTHER = 75  # exit status of a process that stops because another one has ended


def wants_traceback() -> bool:
    """Say whether the user asked for the place of an error as well as its sentence."""
    return os.environ.get("SYNTHBRIDGE_TRACEBACK") == "1"


def num_processes(stage: str) -> int:
    """Return how many processes this one should start; 1 means: run the stage in place.

    Raises:
        ValueError: if SYNTHBRIDGE_PROCESSES is no whole number above 0.
    """
    if stage not in PARALLEL_STAGES or "RANK" in os.environ:
        return 1  # RANK: a launcher (accelerate, torchrun, ours) started us already
    wanted = os.environ.get("SYNTHBRIDGE_PROCESSES")
    if wanted is None:
        num_cores = len(os.sched_getaffinity(0))
        return min(2, num_cores) if stage == "upstream" else _num_gpus() or num_cores
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"SYNTHBRIDGE_PROCESSES is '{wanted}'; give a whole number above 0")
    return int(wanted)


def _num_gpus() -> int:
    """Count the visible NVIDIA GPUs without importing torch (2 s)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def run_processes(count: int, command: list[str]) -> int:
    """Run `command` (this program and its arguments) in `count` processes; return an exit status.

    If one fails the others are stopped, and its rank is named.
    """
    if launcher := os.environ.get("SYNTHBRIDGE_LAUNCHER"):
        return subprocess.run([*shlex.split(launcher), *command], check=False).returncode
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    team = [subprocess.Popen([sys.executable, *command], env=_environment(rank, count, port))
            for rank in range(count)]  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs
    try:
        return _wait(team)
    finally:
        for process in team:
            process.kill()


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


def _wait(team: list[subprocess.Popen]) -> int:
    """Wait until all processes have ended well (0) or one has failed (its status)."""
    while True:
        statuses = [process.poll() for process in team]
        failed = {rank: status for rank, status in enumerate(statuses) if status}
        if failed:
            # The others notice at once that one has gone: the one to name is the first to fail.
            rank = min(failed, key=lambda rank: failed[rank] == LOST_ANOTHER)
            print(f"process {rank} of {len(team)} ended with status {failed[rank]}; "
                  "finished work is kept, the next run goes on", file=sys.stderr)  # fmt: skip
            return 1 if failed[rank] < 0 else failed[rank]
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(0.05)
