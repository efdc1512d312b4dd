"""How every benchmark here measures: arms take turns in one run, and medians are compared.

Turns, because a machine's speed drifts: what slows one arm slows its neighbour as much.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # the package, as `python src` has it

from synthbridge.running.memory import keep_freed_memory

LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "timm", "accelerate", "numpy")
RESULTS = Path(__file__).parent / "results"
SCALES = ("miniature", "full")  # what `dvc repro` made; the real architectures, random weights


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


def per_second(count: int, seconds: Mapping[str, float]) -> dict[str, float]:
    """Return each arm's rate, four digits of it."""
    return {name: float(f"{count / value:.4g}") for name, value in seconds.items()}


def read_arguments(
    description: str | None, *, has_scales: bool = False, families: Collection[str] = ()
) -> argparse.Namespace:
    """Read `--rounds`, and compute as the stages do: on one thread where there is no GPU, and
    with freed memory kept, for all arms alike.

    With `has_scales` also `--scale` and `--folder`; `rounds` is then None unless it is given, since
    each scale has its own. With `families` also `--family`, one of them; None: the usual generator.
    """
    parser = argparse.ArgumentParser(description=description)
    rounds = None if has_scales else 5
    parser.add_argument("--rounds", type=int, default=rounds, help="times each arm is measured")
    if has_scales:
        parser.add_argument(
            "--scale",
            choices=SCALES,
            default=usual_scale(),
            help="default: full on a GPU; full without one is a trial that measures nothing",
        )
        parser.add_argument("--folder", type=Path, help="keep full-size models, for another run")
    if families:
        parser.add_argument("--family", choices=families, help="default: Stable Diffusion 1.x")
    keep_freed_memory()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    return parser.parse_args()


def usual_scale() -> str:
    """Return what a benchmark with scales runs at unless it is told otherwise."""
    return "full" if torch.cuda.is_available() else "miniature"


def result_name(benchmark: str, scale: str, family: str | None = None) -> str:
    """Name the results: with family and scale where they are not the device's usual ones."""
    of_family = benchmark if family is None else f"{benchmark}_{family}"
    return of_family if scale == usual_scale() else f"{of_family}_{scale}"


def save_ratios(benchmark: str, ratios: Mapping[str, Mapping[str, Any]]) -> None:
    """Print one line a ratio, and write them with the device and the versions as JSON.

    Args:
        benchmark: the script's name, and the file's.
        ratios: by id: `what`, `ratio`, `wanted` (None: reported only) and the arms' figures.
    """
    for name, row in ratios.items():
        wanted = "" if row["wanted"] is None else f" (wanted: {row['wanted']:g})"
        print(f"{name}  {row['ratio']:.3f}{wanted}  {row['what']}", flush=True)
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
