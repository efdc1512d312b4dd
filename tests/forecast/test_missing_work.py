"""What stages forecast before they begin: of nothing made, just what the command `estimate` counts.

Every stage runs here up to the point where it says what is missing.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import timm
import torch
from ruamel.yaml import YAML
from timm.models import save_for_hf

from house import ROOT
from synthbridge.core import log
from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.forecast import amounts, memory
from synthbridge.forecast.estimates import count_work
from synthbridge.forecast.memory import Job
from synthbridge.forecast.missing_work import COUNTS, forecast
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import choose_speeds
from synthbridge.params import read_params
from synthbridge.pipeline import fit
from synthbridge.stages import bridge, finetune, generate, invert, plan, select, upstream

SIZE = DatasetSize(num_classes=4, num_train=8, num_validation=4, num_test=4)
VOLUME = 2  # images a class of each set
CHANGES = {
    "seeds": [0, 1],
    "shots": [1, "full"],
    "report.primary.shots": 1,
    "sets": ["template", "dsi_1"],
    "generated_sets": ["template", "dsi_1"],
    "retrieved_sets": [],
    "upstream.pool.num_images": 40,
    "upstream.pool.images_per_shard": 40,
    "synthetic.template.images_per_class": VOLUME,
    "synthetic.dsi_1.images_per_class": VOLUME,
    "generate.images_per_block": VOLUME,
    "generate.classes_per_shard": 3,
    "generate.guided_fraction": 0.6,
    "real_leg.num_epochs": 2,
    "real_leg.num_epochs_few_shot": 3,
}
REAL, BACKBONE = ["--real", "real"], ["--backbone", "backbone"]
FINETUNE = ["--dataset", "digits", *REAL, *BACKBONE, "--rates", "rates.json"]
FINETUNE += ["--models", "models", "--results", "results"]
DSI = ["--blocks", "sets/dsi_1", "--num-blocks", "1"]
STAGES = {  # as DVC calls them: the stage, its arguments
    "upstream": (upstream, ["--out", "upstream"]),
    "invert@digits-dsi_1": (
        invert,
        ["--set", "dsi_1", *REAL, "--generator", "generator", "--clip", "clip", "--out", "out"],
    ),
    "generate@digits-template-b0": (
        generate,
        ["--plan", "plan/b0.json", "--style", "style", "--generator", "generator", "--out", "out"],
    ),
    "select@digits": (select, [*REAL, *BACKBONE, "--out", "chosen.json"]),
    "bridge@digits-dsi_1": (bridge, [*REAL, *BACKBONE, *DSI, "--out", "out"]),
    "finetune_real@digits": (finetune, ["--family", "real", *FINETUNE]),
    "finetune_mixed@digits-dsi_1": (
        finetune,
        ["--family", "mixed", "--set", "dsi_1", *FINETUNE, *DSI],
    ),
    "finetune_bridged@digits-dsi_1": (
        finetune,
        ["--family", "bridged", "--set", "dsi_1", *FINETUNE, "--stage-one", "stage_one"],
    ),
}
PLAN = ["--dataset", "digits", "--set", "template", *REAL, "--style", "style", "--clip", "clip"]
PLAN += ["--generator", "generator", "--prompts", "prompts", "--out", "plan", "--num-blocks", "1"]


class StoppedError(Exception):
    """A stage has said what is missing."""


class Stopper(log.PlainListener):
    """Stops a stage where it says what is missing."""

    def expect(self, stage, missing):
        self.stage, self.missing = stage, missing
        raise StoppedError


def _write_images(path, names, labels):
    image = encode_png(np.zeros((24, 24, 3), np.uint8))
    write_shard(
        path,
        [
            {"__key__": name, "png": image, "cls": label, "json": {"name": name}}
            for name, label in zip(names, labels, strict=True)
        ],
    )


def _write_real(folder):
    counts = {"train": SIZE.num_train, "validation": SIZE.num_validation, "test": SIZE.num_test}
    for split, count in counts.items():
        names = [f"{split}{number}" for number in range(count)]
        _write_images(folder / f"{split}-00000.tar", names, [n % 4 for n in range(count)])
    facts = {"class_names": list("abcd"), "image_size": 24, "flip": True, "counts": counts}
    write_json(folder / "dataset.json", facts)
    ranking = [[f"train{label}", f"train{label + 4}"] for label in range(4)]
    write_json(folder / "few_shot.json", [ranking, ranking])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What stages read, with nothing made in it yet."""
    folder = tmp_path_factory.mktemp("world")
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    for key, value in CHANGES.items():
        *groups, name = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        group[name] = value
    YAML(typ="safe", pure=True).dump(values, folder / "params.yaml")
    pipeline = fit((ROOT / "dvc.yaml").read_text(), read_params(folder / "params.yaml"))
    (folder / "dvc.yaml").write_text(pipeline)
    _write_real(folder / "real")
    for subset in ("s0", "s1"):
        labels = [number % 4 for number in range(4 * VOLUME)]
        names = [f"{subset}-{number}" for number in range(4 * VOLUME)]
        _write_images(folder / f"sets/dsi_1/b0/{subset}-00000.tar", names, labels)
    write_json(folder / "style/index.json", {"all": None})
    rate = {"learning_rate": 0.01, "held_out_accuracy": {}}
    write_json(folder / "rates.json", {"1": rate, "full": rate})
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 24, 24]}
    torch.manual_seed(0)
    save_for_hf(
        timm.create_model("test_resnet", num_classes=5),
        str(folder / "backbone"),
        model_config={"pretrained_cfg": config},
        safe_serialization=True,
    )
    for name in ("generator", "clip"):  # never loaded here
        write_json(folder / name / "model.json", {})
    for path in (f"{name}/s{seed}" for name in ("plain", "mixup") for seed in (0, 1)):
        write_json(folder / "stage_one" / f"{path}.safetensors", {})
    return folder


@pytest.fixture(autouse=True)
def inside(world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(log, "_listener", log.PlainListener())


@cache
def _counted():
    return count_work(read_params(), {"digits": SIZE})


def _rounds(name):
    """Return the units that `estimate` counts for a stage, round by round."""
    rounds = [list(stage.units) for stage in _counted().stages if stage.name == name]
    return rounds[-2:] if name == "upstream" else rounds  # after its start and the pool


def _stop(name):
    """Run a stage up to where it says what is missing."""
    module, arguments = STAGES[name]
    stopper = Stopper()
    log.install(stopper)
    if module is generate:
        with pytest.MonkeyPatch.context() as patch:  # there is no generator here to read prompts
            patch.setattr(plan.PromptWriter, "check_lengths", lambda *_: None)
            plan.main(PLAN)
    with pytest.raises(StoppedError):
        module.main(arguments)
    assert stopper.stage == name.partition("@")[0].partition("_")[0]
    return stopper


def _missing(name):
    stopper = _stop(name)
    of_all = ("accelerator", "generator")
    facts = {key: value for key, value in stopper.missing.items() if key not in of_all}
    return COUNTS[stopper.stage](**facts)


def test_every_stage_that_forecasts_is_here():
    assert {name.partition("@")[0].partition("_")[0] for name in STAGES} == set(COUNTS) - {"sift"}


@pytest.mark.parametrize("name", STAGES)
def test_of_nothing_made_all_is_missing_that_estimate_counts(name):
    missing = _missing(name)
    assert [list(units) for units in missing.rounds] == _rounds(name)
    assert any(missing.rounds)
    assert missing.is_shared == name.startswith(("select", "bridge", "finetune"))


@pytest.mark.parametrize("name", ["select@digits", "bridge@digits-dsi_1", "finetune_real@digits"])
def test_what_is_made_is_missing_no_more(name):
    trainings = _stop(name).missing["trainings"]
    trainings[0].path.mkdir(parents=True)
    assert [list(units) for units in _missing(name).rounds] == [_rounds(name)[0][1:]]
    for training in trainings[1:]:
        training.path.mkdir(parents=True)
    stopper = _stop(name)
    assert forecast(stopper.stage, stopper.missing) is None


def test_a_stage_run_by_the_entry_prints_its_forecast(tmp_path):
    _, arguments = STAGES["select@digits"]
    arguments = [*arguments[:-1], str(tmp_path / "chosen.json")]
    result = subprocess.run(
        [sys.executable, str(ROOT / "src"), "select", *arguments],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert result.returncode == 0, result.stderr
    found = re.search(r"  about ([\d.]+) s, by the speeds of (.+)\n", result.stdout)
    speeds = choose_speeds("cpu", None, "test_resnet 24")
    assert found and speeds and found[2] == speeds.origin
    seconds = speeds.of(None, "test_resnet 24")
    expected = sum(amounts.total(unit, seconds) for unit in _rounds("select@digits")[0])
    assert float(found[1]) == pytest.approx(expected, abs=0.05)
    assert f"({expected:.1f} s were estimated)" in result.stdout.splitlines()[-1]


def test_a_generator_that_does_not_fit_the_memory_is_refused_before_anything_is_forecast(
    monkeypatch,
):
    asked = {}

    def ask(folder, device, job):
        asked[stopper.stage] = job

    monkeypatch.setattr(memory, "check_memory", ask)
    for name in ("invert@digits-dsi_1", "generate@digits-template-b0"):
        stopper = _stop(name)
        forecast(stopper.stage, stopper.missing)
    learns_from = read_params(ROOT / "params.yaml").invert.batch_size
    assert asked["invert"] == Job(SIZE.num_classes + 1, learns_from)
    assert asked["generate"] == Job(3 * VOLUME + 1)  # three classes a shard
    stopper = _stop("invert@digits-dsi_1")
    params = stopper.missing["params"]
    tuned = params.synthetic.model_copy(update={"prompts": "template", "tuned": "dataset"})
    params = replace(params, synthetic=tuned)
    forecast(stopper.stage, {**stopper.missing, "params": params})
    assert asked["invert"] == Job(SIZE.num_classes + 1, params.tune.batch_size, tunes=True)
