"""How every benchmark here measures: arms take turns in one run, and medians are compared.

Turns, because a machine's speed drifts: what slows one arm slows its neighbour as much.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # the package, as `python src` has it

LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "timm", "accelerate", "numpy")
RESULTS = Path(__file__).parent / "results"


def take_turns(
    arms: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    num_warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Run every arm `num_warm_ups` times untimed and then `rounds` times in turns.

    Args:
        arms: what to run, by name.
        rounds: timed turns.
        num_warm_ups: turns before them.
        clock: gives seconds; `time.process_time` leaves out what others do on the machine.

    Returns:
        The median seconds of each arm.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(num_warm_ups + rounds):
        for name, run in arms.items():
            _wait_for_device()
            start = clock()
            run()
            _wait_for_device()
            if turn >= num_warm_ups:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def read_arguments(description: str | None) -> argparse.Namespace:
    """Read `--rounds`, and compute on one thread where there is no GPU, as the stages do."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, help="times that each arm is measured")
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    return parser.parse_args()


def save_ratios(benchmark: str, ratios: Mapping[str, Mapping[str, Any]]) -> None:
    """Print one line a ratio, and write them with the device and the versions as JSON.

    Args:
        benchmark: the script's name, and the file's.
        ratios: by id: `what`, `ratio`, `wanted` (None: reported only) and the arms' figures.
    """
    for name, row in ratios.items():
        wanted = "" if row["wanted"] is None else f" (wanted: {row['wanted']:g})"
        print(f"{name}  {row['ratio']:.2f}{wanted}  {row['what']}", flush=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, one thread"
    record = {
        "device": device,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "ratios": ratios,
    }
    path = _path(benchmark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_ratios(benchmark: str) -> dict[str, Any]:
    """Read what `save_ratios` wrote on this kind of device."""
    return json.loads(_path(benchmark).read_text(encoding="utf-8"))["ratios"]


def _path(benchmark: str) -> Path:
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    return RESULTS / kind / f"{benchmark}.json"
