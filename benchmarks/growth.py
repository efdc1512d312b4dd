"""How cost grows with the job, at three sizes or more of each.

    python benchmarks/growth.py              needs data/upstream: run `dvc repro upstream` first

C1  generation: seconds and peak memory against images (with all start-up, one process).
C2  generation: peak memory against classes, and against shards, for as many images.
C3  training's loader: seconds a step against the images of the data set.
C4  DVC: seconds of a `dvc repro` that runs nothing against stages.
C5  a kill in the middle of `generate`: shards that the next run makes, beyond those that lacked.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from accelerate import Accelerator

from synthbridge.prompts.templates import template_prompts
from synthbridge.training.crops import Augmentation
from synthbridge.training.images import ImageSet, Normalisation
from synthbridge.training.loop import draw_inputs, draw_step
from synthbridge.training.recipe import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team

GENERATOR = "data/upstream/generator"
IMAGES = (200, 800, 3200)
CLASSES = (10, 40, 160)
SHARDS = (2, 8, 32)
DATA_SET_SIZES = (1_000, 10_000, 100_000)
STAGES = (10, 30, 90)
STEPS = 100
GIB = 2**30


@dataclass(frozen=True)
class Ended:
    """What a process took."""

    seconds: float
    peak_gib: float  # largest resident set


@dataclass(frozen=True)
class Job:
    """One run of `generate` in a folder of its own, in one process."""

    folder: Path
    num_classes: int
    images_per_class: int
    classes_per_shard: int

    def prepare(self) -> None:
        """Write its plan and its params.yaml."""
        self.folder.mkdir(parents=True)
        names = [f"class {index}" for index in range(self.num_classes)]
        plan = {
            "class_names": names,
            "guidance_scale": 1.5,
            "prompts": [template_prompts(name) for name in names],
            "start": 0,
            "stop": self.images_per_class,
            "styles": {"all": None},
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        text = Path("params.yaml").read_text()
        assert text.count("classes_per_shard: 5") == 1
        text = text.replace("classes_per_shard: 5", f"classes_per_shard: {self.classes_per_shard}")
        (self.folder / "params.yaml").write_text(text)
        shutil.copy("dvc.yaml", self.folder)  # the stage checks that the two belong together

    def start(self) -> subprocess.Popen:
        """Start it."""
        root = Path.cwd()
        environment = {**os.environ, "SYNTHBRIDGE_PROCESSES": "1", "OMP_NUM_THREADS": "1"}
        paths = ["--plan", "plan.json", "--style", ".", "--out", "out"]
        generator = ["--generator", str(root / GENERATOR)]
        command = [sys.executable, str(root / "src"), "generate", *paths, *generator]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL
        )

    def run(self) -> Ended:
        """Run it to its end."""
        self.prepare()
        start = time.perf_counter()
        process = self.start()
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return Ended(time.perf_counter() - start, usage.ru_maxrss * 1024 / GIB)

    def units(self) -> dict[Path, int]:
        """Return the finished shards of its work folder, each with the time it was made at."""
        return {path: path.stat().st_mtime_ns for path in self.folder.rglob("work/**/shard.tar")}


def measure_images(folder: Path) -> dict[str, Any]:
    """C1: more images of ten classes."""
    rows = {n: Job(folder / f"images{n}", 10, n // 10, 5).run() for n in IMAGES}
    seconds = [rows[n].seconds for n in IMAGES]
    slope, start = np.polyfit(IMAGES, seconds, 1)
    off = max(abs(start + slope * n - s) / s for n, s in zip(IMAGES, seconds, strict=True))
    return {
        "what": "generation, largest distance from a straight line, relative",
        "ratio": float(off),
        "wanted": None,
        "seconds": dict(zip(IMAGES, seconds, strict=True)),
        "seconds_per_image": float(slope),
        "seconds_to_start": float(start),
        "peak_gib": {n: row.peak_gib for n, row in rows.items()},
    }


def measure_memory(folder: Path) -> dict[str, Any]:
    """C2: as many images in more classes, and in more shards."""
    images = 1600
    classes = {
        n: Job(folder / f"classes{n}", n, images // n, n // 2).run().peak_gib for n in CLASSES
    }
    shards = {n: Job(folder / f"shards{n}", 32, 50, 32 // n).run().peak_gib for n in SHARDS}
    peaks = [*classes.values(), *shards.values()]
    return {
        "what": "generation, peak memory, largest / smallest",
        "ratio": max(peaks) / min(peaks),
        "wanted": None,
        "peak_gib_by_classes": classes,
        "peak_gib_by_shards": shards,
    }


def measure_loader(rounds: int) -> dict[str, Any]:
    """C3: the same batches from larger data sets."""
    settings = TrainingSettings(
        batch_size=64,
        momentum=0.9,
        weight_decay=0.0,
        image_size=24,
        resize_size=24,
        min_crop_area=0.6,
        max_stretch=1.2,
        augment=True,
        normalisation="backbone",
        start="backbone",
        frozen_norm="eval",
    )
    recipe = Recipe(settings, Normalisation((0.5,) * 3, (0.5,) * 3), Augmentation(0.6, 1.2, False))
    team = Team(Accelerator(cpu=True), rank=0, size=1)

    def load(size: int) -> Callable[[], None]:
        images = ImageSet(
            torch.zeros((size, 3, 24, 24), dtype=torch.uint8), torch.zeros(size, dtype=torch.int64)
        )

        def take_steps() -> None:
            for step in range(STEPS):
                rng = np.random.default_rng(step)
                drawn = draw_step(images, rng.integers(size, size=64), recipe, rng)
                draw_inputs(images, drawn, recipe, mixup=0, team=team)

        return take_steps

    arms = {str(size): load(size) for size in DATA_SET_SIZES}
    seconds = measure.take_turns(arms, rounds=rounds)
    return {
        "what": "training's loader, a step from the largest data set / from the smallest",
        "ratio": seconds[str(DATA_SET_SIZES[-1])] / seconds[str(DATA_SET_SIZES[0])],
        "wanted": None,
        "milliseconds_a_step": {size: s / STEPS * 1e3 for size, s in seconds.items()},
    }


def measure_dvc(folder: Path, rounds: int) -> dict[str, Any]:
    """C4: repositories with more stages, all of them up to date."""
    dvc = [sys.executable, "-m", "dvc"]

    def repro(stages: int) -> Callable[[], Any]:
        repository = folder / f"stages{stages}"
        repository.mkdir()
        lines = [
            f"  s{i}:\n    cmd: cp in s{i}\n    deps: [in]\n    outs: [s{i}]" for i in range(stages)
        ]
        (repository / "dvc.yaml").write_text("\n".join(["stages:", *lines]) + "\n")
        (repository / "in").write_text("in")
        run: dict[str, Any] = {"cwd": repository, "check": True, "capture_output": True}
        subprocess.run([*dvc, "init", "--no-scm"], **run)
        subprocess.run([*dvc, "repro"], **run)
        return lambda: subprocess.run([*dvc, "repro"], **run)

    seconds = measure.take_turns({str(n): repro(n) for n in STAGES}, rounds=rounds)
    slope, start = np.polyfit(STAGES, list(seconds.values()), 1)
    return {
        "what": "DVC, seconds a stage that is up to date",
        "ratio": float(slope),
        "wanted": None,
        "seconds": seconds,
        "seconds_to_start": float(start),
    }


def measure_resume(folder: Path) -> dict[str, Any]:
    """C5: kill -9 when three of eight shards lie in the work folder."""
    job = Job(folder / "killed", 32, 25, 4)
    job.prepare()
    process = job.start()
    while len(job.units()) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = job.units()
    assert job.start().wait() == 0
    after = job.units()
    again = sum(after[path] != made for path, made in before.items())
    return {
        "what": "finished shards made again after a kill",
        "ratio": float(again),
        "wanted": 1.0,
        "finished_at_the_kill": len(before),
        "shards": len(after),
    }


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {
            "C1": measure_images(folder),
            "C2": measure_memory(folder),
            "C3": measure_loader(rounds),
            "C4": measure_dvc(folder, rounds),
            "C5": measure_resume(folder),
        }
    measure.save_ratios("growth", rows)


if __name__ == "__main__":
    main()
