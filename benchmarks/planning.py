"""Forecasts beside what was measured: four stages at three sizes each.

    python benchmarks/planning.py            needs data/: run `dvc repro` first; takes minutes

P1  seconds that `estimate` predicts for a stage / seconds that it takes, start and all. The speeds
    are measured first, in few steps, by what `python src estimate --measure` runs.
    One process; on the CPU seconds are its own, on a GPU the clock's.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import torch
from ruamel.yaml import YAML

from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.measuring import measure as measure_speeds
from synthbridge.forecast.speeds import choose_speeds, device_kind
from synthbridge.params import read_params

SET = "dsi_4"  # what a style is learned for, and trained on
DRAWN = "template"  # what is drawn: it has one subset, whatever the seeds
WANTED = 0.2  # the largest fraction by which a forecast may be off


@dataclass(frozen=True)
class Size:
    """One stage at one size."""

    stage: str  # as DVC calls it
    changes: dict[str, Any]  # of params.yaml: key -> value
    arguments: list[str]

    @property
    def what(self) -> str:
        """Its size in words."""
        return f"{self.stage}, {', '.join(f'{k} {v}' for k, v in self.changes.items())}"


def list_sizes(dataset: str) -> Iterator[Size]:
    """List all stages and sizes."""
    blocks = Path("data/sets", dataset, SET)
    num_blocks = len(list(blocks.glob("b*")))
    real = f"--real data/real/{dataset}"
    trains = f"{real} --backbone data/upstream/backbone"
    generator = "--generator data/upstream/generator --out out"
    invert = f"invert --set {SET} {real} --clip data/upstream/clip {generator}"
    generate = f"generate --plan plan/b0.json --style data/styles/{dataset}/{DRAWN} {generator}"
    bridge = f"bridge {trains} --blocks {blocks} --num-blocks {num_blocks} --out out"
    finetune = f"finetune --dataset {dataset} --family real {trains}"
    finetune += f" --rates data/rates/{dataset}.json --models out/models --results out/results"
    for steps in (60, 240, 720):
        yield Size(f"invert@{dataset}-{SET}", {"invert.num_steps": steps}, invert.split())
    for volume in (60, 240, 960):
        changes = {
            "generate.images_per_block": volume,
            f"synthetic.{DRAWN}.images_per_class": volume,
        }
        yield Size(f"generate@{dataset}-{DRAWN}-b0", changes, generate.split())
    for steps in (40, 160, 640):
        changes = {"stage_one.plain.num_steps": steps}
        yield Size(f"bridge@{dataset}-{SET}", changes, bridge.split())
    for epochs in (50, 200, 600):
        changes = {"real_leg.num_epochs_few_shot": epochs}
        yield Size(f"finetune_real@{dataset}", changes, finetune.split())


def plan_arguments(dataset: str) -> list[str]:
    """Return the arguments that plan the one block that is drawn."""
    return (
        f"plan --dataset {dataset} --set {DRAWN} --real data/real/{dataset} "
        f"--style data/styles/{dataset}/{DRAWN} --clip data/upstream/clip "
        "--generator data/upstream/generator --prompts data/prompts --out plan --num-blocks 1"
    ).split()


def write_folder(folder: Path, size: Size) -> None:
    """Write params.yaml for one seed with a size's changes, and all that the stage reads."""
    folder.mkdir()
    values = YAML(typ="safe").load(Path("params.yaml"))
    for key, value in {"seeds": [0], "shots": [4], **size.changes}.items():
        *groups, name = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        group[name] = value
    YAML(typ="safe", pure=True).dump(values, folder / "params.yaml")
    (folder / "dvc.yaml").write_text(Path("dvc.yaml").read_text())
    (folder / "data").symlink_to(Path("data").resolve())


def run(size: Size, folder: Path) -> float:
    """Run a stage in one process; return its seconds."""
    environment = {
        **os.environ,
        "SYNTHBRIDGE_PROCESSES": "1",
        "OMP_NUM_THREADS": "1",
        "SYNTHBRIDGE_WORK": str(folder / "work"),
    }
    source = str(Path("src").resolve())
    if size.stage.startswith("generate"):
        dataset = size.stage.partition("@")[2].partition("-")[0]
        of_plan = [sys.executable, source, *plan_arguments(dataset)]
        subprocess.run(of_plan, cwd=folder, env=environment, check=True, capture_output=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, source, *size.arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, size
    took = time.perf_counter() - start
    return took if torch.cuda.is_available() else usage.ru_utime + usage.ru_stime


def foresee(size: Size, folder: Path) -> float:
    """Return the seconds that a forecast for the same settings predicts, in one process."""
    work = count_work(read_params(folder / "params.yaml"))
    speeds = choose_speeds(device_kind(), work.generator, work.backbone)
    assert speeds is not None and speeds.basis == "measured"
    found = predict(work, speeds, processes=1)
    return next(stage.seconds for stage in found.stages if stage.name == size.stage)


def main() -> None:
    """Measure the speeds, run every size, compare, print and save."""
    measure.read_arguments(__doc__)
    params = read_params()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SYNTHBRIDGE_WORK"] = name  # the machine's own speeds stay as they are
        measure_speeds(params, "here")
        rows = {}
        for number, size in enumerate(list_sizes(params.datasets[0])):
            folder = Path(name) / f"size{number}"
            write_folder(folder, size)
            predicted, took = foresee(size, folder), run(size, folder)
            rows[f"P1 {number + 1}"] = {
                "what": f"predicted / taken: {size.what}",
                "ratio": predicted / took,
                "wanted": None,
                "predicted": predicted,
                "taken": took,
            }
            print(f"{size.what}: {predicted:.1f} s predicted, {took:.1f} s taken", flush=True)
    off = max(abs(row["ratio"] - 1) for row in rows.values())
    rows["P1"] = {
        "what": "the forecast that is farthest off, as a fraction, at most",
        "ratio": off,
        "wanted": WANTED,
    }
    measure.save_ratios("planning", rows)


if __name__ == "__main__":
    main()
