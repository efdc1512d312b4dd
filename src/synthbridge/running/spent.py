"""Time spent: what finished stages took on this machine, in the work folder and in no out.

A page with hours on it would change with the machine that makes it, so they are printed instead.
"""

import csv
import os
import sys
from collections import defaultdict

from synthbridge.core.units import work_folder

FILE = "spent.csv"  # stage as DVC calls it, seconds, processes, GPU or CPU
NAMED = 3  # the stages that took most


def note_time(seconds: float) -> None:
    """Add what a stage took, if DVC ran it: once, whatever its number of processes."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return
    torch = sys.modules.get("torch")
    device = "GPU" if torch is not None and torch.cuda.is_available() else "CPU"
    path = work_folder() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(
            [stage, f"{seconds:.1f}", os.environ.get("WORLD_SIZE", "1"), device]
        )


def spent_sentence() -> str | None:
    """Say how long the stages took so far, and which took longest; None: nothing is noted."""
    path = work_folder() / FILE
    if not path.is_file():
        return None
    by_stage, gpu_seconds = defaultdict[str, float](float), 0.0
    with path.open(newline="", encoding="utf-8") as file:
        for stage, seconds, processes, device in csv.reader(file):
            by_stage[stage.split("@")[0]] += float(seconds)
            gpu_seconds += float(seconds) * int(processes) * (device == "GPU")
    most = sorted(by_stage.items(), key=lambda item: -item[1])[:NAMED]
    longest = ", ".join(f"{name} {_words(took)}" for name, took in most)
    on_gpus = f" ({gpu_seconds / 3600:.2f} GPU-hours)" if gpu_seconds else ""
    total = _words(sum(by_stage.values()))
    return f"stages took {total} here so far{on_gpus}, most of it {longest}; see {path}"


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
