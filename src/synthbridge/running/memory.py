"""Memory: how a stage's process treats it from its start."""

import ctypes
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def set_up_memory() -> None:
    """Do what every stage does before its imports."""
    keep_freed_memory()
    # The imports make a million objects that stay; looking at them again and again takes a fifth
    # of a stage's start.
    gc.set_threshold(100_000, 50, 100)


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step; return whether it does.

    It would hand large pieces back to the system, which fills each page with zeros before it gives
    it again: 4 to 12 % of a training step on a CPU (M1 of `benchmarks/freed_memory.py`). Pieces
    above 32 MiB, the most that it can be told, still go back.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    options = ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**30))
    return all(libc.mallopt(*option) for option in options)
