"""GPUs for a run beside others: SYNTHBRIDGE_GPUS_EACH=1 takes one that no other run holds.

A run holds a GPU by a lock on a file. The kernel takes the lock off when the last process that has
the file open ends, however it ends: no lock is ever left behind.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path

from synthbridge.core.log import say

SECONDS_BETWEEN_TRIES = 0.5


def visible_gpus() -> list[str]:
    """Name the NVIDIA GPUs that this process may use, without importing torch (2 s)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return [name for name in names if name not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    count = sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
    return [str(index) for index in range(count)]


def take_gpus() -> list[int]:
    """Take the GPUs that SYNTHBRIDGE_GPUS_EACH asks for, and hide the others.

    Returns:
        Open files: a GPU is held as long as any process has its file open. Without
        SYNTHBRIDGE_GPUS_EACH there are none, and all GPUs stay visible.

    Raises:
        ValueError: if it is no whole number above 0, or above the number of GPUs.
    """
    wanted = os.environ.get("SYNTHBRIDGE_GPUS_EACH")
    if wanted is None:
        return []
    gpus = visible_gpus()
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(gpus):
        raise ValueError(
            f"SYNTHBRIDGE_GPUS_EACH is '{wanted}', and this machine shows {len(gpus)} GPUs "
            "(CUDA_VISIBLE_DEVICES, nvidia-smi); give a number from 1 to that, or unset it"
        )
    held = _wait_for(gpus, int(wanted))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(name for name in gpus if name in held)
    say(f"  on GPU {os.environ['CUDA_VISIBLE_DEVICES']}")
    return list(held.values())


def _wait_for(gpus: list[str], count: int) -> dict[str, int]:
    """Lock the files of `count` GPUs, as soon as so many are free."""
    folder = Path(tempfile.gettempdir(), f"synthbridge-gpus-{os.getuid()}")  # one a machine
    folder.mkdir(mode=0o700, exist_ok=True)
    # One run chooses at a time: two that want two GPUs would else hold one each, for ever.
    turn = os.open(folder / "turn", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(turn, fcntl.LOCK_EX)
    held: dict[str, int] = {}
    while True:
        for name in gpus:
            if name not in held and len(held) < count:
                _try_to_hold(folder, name, held)
        if len(held) == count:
            os.close(turn)
            return held
        time.sleep(SECONDS_BETWEEN_TRIES)


def _try_to_hold(folder: Path, name: str, held: dict[str, int]) -> None:
    """Add a GPU to those that this run holds, unless another run holds it."""
    file = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held[name] = file
    except BlockingIOError:
        os.close(file)
