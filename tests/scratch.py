"""Scratch clones of this repository with tiny settings, driven by real `dvc` commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from house import ROOT
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.params import Params
from synthbridge.pipeline import fit

BIN = Path(sys.executable).parent
TINY = {
    "upstream.pool.num_images": 400,
    "upstream.pool.images_per_shard": 200,
    "upstream.clip.num_steps": 8,
    "upstream.clip.batch_size": 16,
    "upstream.generator.vae.num_steps": 8,
    "upstream.generator.vae.batch_size": 8,
    "upstream.generator.unet.num_steps": 8,
    "upstream.generator.unet.batch_size": 8,
    "upstream.backbone.num_images": 260,
    "upstream.backbone.num_steps": 8,
    "upstream.backbone.batch_size": 16,
    "shots": [1],
    "seeds": [0, 1],
    "sets": ["template", "dsi_1", "retrieved"],
    "generated_sets": ["template", "dsi_1"],
    "synthetic.template.images_per_class": 2,
    "synthetic.dsi_1.images_per_class": 2,
    "retrieved.retrieved.images_per_class": 2,
    "invert.num_steps": 4,
    "invert.batch_size": 4,
    "invert.samples_per_class": 1,
    "generate.num_steps": 2,
    "generate.images_per_block": 2,
    "stage_one.plain.num_steps": 3,
    "stage_one.mixup.num_steps": 3,
    "real_leg.learning_rates": [0.03],
    "real_leg.num_epochs_few_shot": 2,
    "report.primary.shots": 1,
}


class Scratch:
    """A clone of the working tree in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def change(self, changes: dict[str, Any]) -> None:
        """Change values of params.yaml, named by dotted keys."""
        yaml, path = YAML(), self.folder / "params.yaml"
        params = yaml.load(path)
        for key, value in changes.items():
            *parents, last = key.split(".")
            group = params
            for parent in parents:
                group = group[parent]
            group[last] = value
        yaml.dump(params, path)

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Run a command in the clone and return all it printed; fail unless it ends as said."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=900,
        )
        assert (result.returncode == 0) == ok, f"{' '.join(command)}:\n{result.stdout}"
        return result.stdout

    def environment(self, **changes: str) -> dict[str, str]:
        """Return an environment whose `python` and `dvc` are those that run the tests."""
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("SYNTHBRIDGE_WORK", None)
        return {**environment, "SYNTHBRIDGE_PROCESSES": "1", **changes}

    def dvc(self, *arguments: str, ok: bool = True, **environment: str) -> str:
        """Run DVC in the clone."""
        return self.run(sys.executable, "-m", "dvc", *arguments, ok=ok, **environment)

    def git(self, *arguments: str) -> str:
        """Run git in the clone, as somebody."""
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return self.run("git", *who, *arguments)

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    def ran(self, *arguments: str) -> set[str]:
        """Run `dvc repro` and return the stages whose command ran."""
        printed = self.dvc("repro", *arguments)
        return set(re.findall(r"Running stage '([^']+)':\n> ", printed))

    def units(self, stage: str) -> dict[str, int]:
        """Return the finished units of work of a stage, and when each was made."""
        return {
            path.name: path.stat().st_mtime_ns
            for path in (self.folder / "work" / stage).glob("??/*")
            if path.is_dir() and not path.name.startswith(".")
        }

    def lock(self) -> dict[str, Any]:
        """Return the stages of dvc.lock."""
        return YAML(typ="safe").load(self.folder / "dvc.lock")["stages"]


def clone_working_tree(folder: Path) -> Scratch:
    """Copy what git tracks or would track, without results, with tiny settings; commit it."""
    listing = ("git", "ls-files", "-co", "--exclude-standard", "-z")
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("metrics/", "dvc.lock")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    scratch = Scratch(folder)
    scratch.change(TINY)
    pipeline = folder / "dvc.yaml"
    params = check_settings(Params, read_yaml(folder / "params.yaml"), "")
    pipeline.write_text(fit(pipeline.read_text(), params))
    scratch.git("init", "-q")
    scratch.commit()
    return scratch


def copy_scratch(scratch: Scratch, folder: Path) -> Scratch:
    """Copy a clone with its outputs, cache and work folder; times are kept."""
    shutil.copytree(scratch.folder, folder, symlinks=True)
    return Scratch(folder)
