"""Memory: what a process has freed stays its own."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step; return whether it does.

    It would hand large pieces back to the system, which fills each page with zeros before it gives
    it again: a tenth of a training step on a CPU (M1 of `benchmarks/freed_memory.py`). Pieces
    above 32 MiB, the most that it can be told, still go back.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    return all(libc.mallopt(*option) for option in ((M_MMAP_THRESHOLD, 2**25),
                                                    (M_TRIM_THRESHOLD, 2**30)))  # fmt: skip
