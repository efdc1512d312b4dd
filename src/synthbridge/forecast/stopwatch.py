"""How speeds are measured: the least seconds of a few short runs, for what else runs only adds.

On the CPU seconds are the process's own; on a GPU they are the clock's, as its work does not count
there.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

import synthbridge

ROUNDS = 3
SOURCE = Path(synthbridge.__file__).parents[1]  # or where the package is installed


def least_seconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Run once to warm up and `rounds` times more; return the seconds of the fastest."""
    is_gpu = torch.cuda.is_available()
    clock = time.perf_counter if is_gpu else time.process_time
    seconds = []
    for _ in range(1 + rounds):
        start = clock()
        run()
        if is_gpu:
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return min(seconds[1:])


def seconds_of_one(run: Callable[[int], object], small: int, large: int) -> tuple[float, float]:
    """Return the seconds of each of the things that `run` does so many times, and of none."""
    at_small, at_large = (least_seconds(lambda n=count: run(n)) for count in (small, large))
    each = max(0.0, (at_large - at_small) / (large - small))
    return each, max(0.0, at_small - small * each)


def seconds_of_code(code: str) -> float:
    """Return the least seconds of Python code in a process that starts and leaves as a stage's."""
    before = "import gc, os; from synthbridge.running.memory import set_up_memory; set_up_memory()"
    # As the entry ends: it does not take torch apart.
    return seconds_of_command(["-c", f"{before}\n{code}\nos._exit(0)"])


def seconds_of_command(arguments: Iterable[str]) -> float:
    """Return the least seconds of a Python command in a process of its own, which finds our source.

    Raises:
        ValueError: if it fails.
    """
    arguments = list(arguments)
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    one = {"PYTHONPATH": path, "SYNTHBRIDGE_PROCESSES": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **one}
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise ValueError(f"'python {' '.join(arguments)}' failed; run it to see why")
        own = usage.ru_utime + usage.ru_stime
        found.append(time.perf_counter() - start if torch.cuda.is_available() else own)
    return min(found)


def smooth_images(count: int, size: int) -> np.ndarray:
    """Draw images (N, S, S, 3) uint8 that are smooth: noise would make larger JPEGs than life."""
    small = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, 8, 8)))
    smooth = torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear")
    return smooth.permute(0, 2, 3, 1).contiguous().to(torch.uint8).numpy()
