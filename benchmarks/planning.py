"""Plans beside what was measured: four stages at three sizes each.

    python benchmarks/planning.py            needs data/: run `dvc repro` first; takes minutes

P1  seconds that `estimate` predicts for a stage / seconds that it takes, start and all. The rates
    are measured first, on small models and few steps, by what `python src estimate --measure` runs.
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
from synthbridge.forecast.measuring import measure as measure_rates
from synthbridge.forecast.speeds import choose_rates, device_kind
from synthbridge.params import read_params

SET = "dsi_4"  # what a style is learned for, and trained on
DRAWN = "template"  # what is drawn: it has one subset, whatever the seeds
WANTED = 0.2  # the largest share by which a plan may be off


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
    real = ["--real", f"data/real/{dataset}"]
    models = ["--backbone", "data/upstream/backbone"]
    blocks = sorted(str(path) for path in Path("data/sets", dataset, SET).glob("b*"))
    generator = ["--generator", "data/upstream/generator"]
    for steps in (60, 240, 720):
        yield Size(
            f"invert@{dataset}-{SET}",
            {"invert.num_steps": steps},
            [
                "invert",
                "--set",
                SET,
                *real,
                *generator,
                "--clip",
                "data/upstream/clip",
                "--out",
                "out",
            ],
        )
    for volume in (60, 240, 960):
        changes = {
            "generate.images_per_block": volume,
            f"synthetic.{DRAWN}.images_per_class": volume,
        }
        yield Size(
            f"generate@{dataset}-{DRAWN}-b0",
            changes,
            [
                "generate",
                "--plan",
                "plan.json",
                "--style",
                f"data/styles/{dataset}/{DRAWN}",
                *generator,
                "--out",
                "out",
            ],
        )
    for steps in (40, 160, 640):
        yield Size(
            f"bridge@{dataset}-{SET}",
            {"stage_one.plain.num_steps": steps},
            ["bridge", *real, *models, "--blocks", *blocks, "--out", "out"],
        )
    for epochs in (50, 200, 600):
        yield Size(
            f"finetune_real@{dataset}",
            {"real_leg.num_epochs_few_shot": epochs},
            [
                "finetune",
                "--dataset",
                dataset,
                "--family",
                "real",
                *real,
                *models,
                "--rates",
                f"data/rates/{dataset}.json",
                "--models",
                "out/models",
                "--results",
                "out/results",
            ],
        )


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
        of_plan = [
            sys.executable,
            source,
            "plan",
            "--dataset",
            dataset,
            "--set",
            DRAWN,
            "--real",
            f"data/real/{dataset}",
            "--style",
            f"data/styles/{dataset}/{DRAWN}",
            "--clip",
            "data/upstream/clip",
            "--generator",
            "data/upstream/generator",
            "--prompts",
            "data/prompts",
            "--names",
            "names.json",
            "--blocks",
            "plan.json",
        ]
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
    """Return the seconds that a plan of the same settings predicts, in one process."""
    work = count_work(read_params(folder / "params.yaml"))
    rates = choose_rates(device_kind(), work.generator, work.backbone)
    assert rates is not None and rates.source == "measured"
    found = predict(work, rates, processes=1)
    return next(stage.seconds for stage in found.stages if stage.name == size.stage)


def main() -> None:
    """Measure the rates, run every size, compare, print and save."""
    measure.read_arguments(__doc__)
    params = read_params()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SYNTHBRIDGE_WORK"] = name  # the machine's own rates stay as they are
        measure_rates(params, "here")
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
        "what": "the plan that is farthest off, as a share, at most",
        "ratio": off,
        "wanted": WANTED,
    }
    measure.save_ratios("planning", rows)


if __name__ == "__main__":
    main()
