"""A sweep: all training stages of the default, beside the training in them.

    python benchmarks/sweep.py               needs data/: run `dvc repro` first; takes minutes

R2  seconds of `select`, `bridge` and `finetune` for all arms, shots, seeds and sets, from nothing,
    in one process each, start and all / the seconds of their gradient steps alone. On the CPU
    seconds are the processes' own: what others do on the machine does not count.
"""

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measure
import torch

from synthbridge.core.log import say
from synthbridge.params import Params, read_params
from synthbridge.running.memory import set_up_memory

CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time
# What a run consists of, by the modules that call it; `train` is the training alone.
PARTS = {
    "train": ("training.arms", "stages.bridge"),
    "predict": ("training.arms", "stages.finetune"),
    "load_backbone": ("stages.select", "stages.bridge", "stages.finetune"),
    "load_classifier": ("stages.finetune",),
    "load_samples": ("stages.select", "stages.bridge", "stages.finetune"),
    "synthetic_samples": ("stages.bridge", "stages.finetune"),
    "save_classifier": ("stages.bridge", "stages.finetune"),
    "hash_folder": ("stages.select", "stages.bridge", "stages.finetune"),
    "hash_file": ("stages.finetune",),
    "unit_key": ("stages.select", "stages.bridge", "stages.finetune"),
    "copy_unit": ("stages.bridge",),
    "_publish": ("stages.finetune",),
}


def list_commands(params: Params, sets: list[str], dataset: str, out: Path) -> Iterator[list[str]]:
    """List the arguments of every training stage, in the pipeline's order."""
    real = ["--real", f"data/real/{dataset}", "--backbone", "data/upstream/backbone"]
    rates = f"data/rates/{dataset}.json"
    yield ["select", *real, "--out", str(out / "rates.json")]
    for set_ in sets:
        yield ["bridge", *real, *_blocks(dataset, set_), "--out", str(out / "stage_one" / set_)]
    families = [("real", None), *(("mixed", name) for name in sets)]
    for family, set_ in [*families, *(("bridged", name) for name in sets)]:
        of_set = [] if set_ is None else ["--set", set_]
        more = _blocks(dataset, set_) if set_ and family == "mixed" else []
        if set_ and family == "bridged":
            more = ["--stage-one", str(out / "stage_one" / set_)]
        where = out / family / (set_ or "all")
        arguments = ["finetune", "--dataset", dataset, "--family", family, *of_set, *real, *more]
        arguments += ["--rates", rates, "--models", str(where / "models")]
        yield [*arguments, "--results", str(where / "results")]


def _blocks(dataset: str, set_: str) -> list[str]:
    folder = Path("data/sets") / dataset / set_
    return ["--blocks", str(folder), "--num-blocks", str(len(list(folder.glob("b*"))))]


def run_inside(arguments: list[str], report: Path) -> None:
    """Run a stage in this process as `python src` does; write the seconds of its parts."""
    set_up_memory()  # as there
    seconds = {"imports": 0.0, **{name: 0.0 for name in PARTS}}
    module = importlib.import_module(f"synthbridge.stages.{arguments[0]}")
    for name, places in PARTS.items():
        for place in places:
            holder = sys.modules.get(f"synthbridge.{place}")
            if holder and hasattr(holder, name):
                setattr(holder, name, _timed(getattr(holder, name), name, seconds))
    seconds["imports"] = time.process_time()
    module.main(arguments[1:])
    report.write_text(json.dumps(seconds))
    os._exit(0)  # as there


def _timed(function: Callable, name: str, seconds: dict[str, float]) -> Callable:
    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        start = CLOCK()
        try:
            return function(*arguments, **named)
        finally:
            seconds[name] += CLOCK() - start

    return run


def run_stage(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run a stage in a process of its own; return the seconds of its parts and of all of it."""
    environment = {
        **os.environ,
        "SYNTHBRIDGE_PROCESSES": "1",
        "SYNTHBRIDGE_WORK": str(folder / "work"),
        "OMP_NUM_THREADS": "1",
    }
    report = folder / "report.json"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--inside", str(report), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    took = time.perf_counter() - start
    own = usage.ru_utime + usage.ru_stime
    return {**json.loads(report.read_text()), "all": took if torch.cuda.is_available() else own}


def main() -> None:
    """Measure, print and save."""
    if sys.argv[1:2] == ["--inside"]:
        return run_inside(sys.argv[3:], Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", help="of these alone (default: all)")
    sets = parser.parse_args().sets
    params = read_params()
    total: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in list_commands(params, sets or params.sets, params.datasets[0], folder):
            parts = run_stage(arguments, folder)
            say(f"{arguments[0]}: {parts['all']:.1f} s, {parts['train']:.1f} s of them training")
            total = {part: total.get(part, 0.0) + value for part, value in parts.items()}
    whole, training = total.pop("all"), total["train"]
    rest = whole - sum(total.values())
    row = {
        "what": "training stages, whole / training alone, at most",
        "ratio": whole / training,
        "wanted": 1.25,
        "seconds": {"whole": whole, "rest": rest, **total},
        "sets": sets or params.sets,
    }
    measure.save_ratios("sweep", {"R2": row})


if __name__ == "__main__":
    main()
