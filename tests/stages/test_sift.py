"""Stage `sift` on a small world: what a classifier finds hard, and what chance picks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from house import ROOT
from quarters import make_source, training_settings, write_backbone, write_dataset, write_images
from synthbridge.core.files import read_json
from synthbridge.data.synthetic import set_samples
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.stages.sift import SiftParams, chances, sift
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import make_recipe
from synthbridge.training.settings import StageOneSettings
from synthbridge.training.team import Team

PER_CLASS = 12
STAGE_ONE = {"plain": StageOneSettings(num_steps=60, learning_rate=0.05, mixup=0.0)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A set of two subsets in two blocks; every fourth image of a class is half another's."""
    root = tmp_path_factory.mktemp("world")
    write_backbone(root / "backbone", seed=7)
    write_dataset(root / "real", {"train": make_source("real", 8, seed=5)})
    for seed in (0, 1):
        for block, start in (("b0", 0), ("b1", 24)):
            images = make_source("synthetic", 48, seed=10 + seed)
            rows = torch.arange(start, start + 24)
            pixels = images.images[rows].clone()
            hard = rows // 4 % 4 == 3
            pixels[hard] = (pixels[hard] // 2) + (pixels[hard].roll(1, 0) // 2)
            path = root / f"hard/{block}/s{seed}-00000.tar"
            write_images(path, ImageSet(pixels, images.labels[rows]))
            rename_keys(path, block)
    return root


def rename_keys(path, block):
    """Give the images of a block keys of their own, as `generate` does."""
    from synthbridge.data.shards import encode_png, index_shard, read_image, write_shard

    samples = [
        {
            "__key__": f"{block}-{sample.key}",
            "png": encode_png(np.asarray(read_image(sample))),
            "cls": sample.label,
            "json": sample.record,
        }
        for sample in index_shard(path)
    ]
    write_shard(path, samples)


def settings(**changes):
    values = {
        "prompts": "template",
        "shots": None,
        "guidance_scale": 2.0,
        "images_per_class": PER_CLASS,
        "keep_fraction": 0.25,
    }
    return SyntheticSettings(**values, **changes)


ENTROPY = {"select": "entropy", "scored_by": "plain"}


def blocks(world):
    return [world / "hard/b0", world / "hard/b1"]


def run(world, out, synthetic, training=None):
    params = SiftParams(synthetic, training or training_settings(), STAGE_ONE)
    sift(params, real=world / "real", blocks=blocks(world), backbone=world / "backbone", out=out)
    return read_json(out)


@pytest.fixture(autouse=True)
def _work(tmp_path_factory, monkeypatch):
    """Let all tests share one work folder, as stages do."""
    folder = tmp_path_factory.getbasetemp() / "work_of_sift"
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(folder))


@pytest.mark.parametrize("synthetic", [None, settings()])
def test_a_set_that_does_not_ask_is_not_looked_at(world, tmp_path, synthetic):
    params = SiftParams(synthetic, training_settings(), STAGE_ONE)
    nowhere = tmp_path / "nowhere"
    sift(params, real=nowhere, blocks=[nowhere], backbone=nowhere, out=tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == {"keys": None}


def by_class(world, keys):
    """Count the chosen images of each subset and class."""
    counts = {}
    for sample in set_samples(blocks(world)):
        group = (sample.shard.name[:2], sample.label)
        counts[group] = counts.get(group, 0) + (sample.key in keys)
    return counts


@pytest.mark.parametrize("ways", [ENTROPY, {"select": "random"}])
def test_each_class_and_subset_keeps_the_same_number(world, tmp_path, ways):
    found = run(world, tmp_path / "a.json", settings(**ways))
    assert by_class(world, set(found["keys"])) == {
        (subset, label): 3 for subset in ("s0", "s1") for label in range(4)
    }
    assert found["keys"] == sorted(set(found["keys"]))
    assert (found["select"], found["num_drawn"]) == (ways["select"], 96)
    capped = run(world, tmp_path / "b.json", settings(**ways, cap=2))
    assert len(capped["keys"]) == 16


def test_the_entropies_are_those_of_a_classifier_trained_on_the_random_part(world, tmp_path):
    """The choice, made again by hand for one subset."""
    chosen = set(run(world, tmp_path / "a.json", settings(**ENTROPY))["keys"])
    by_chance = set(run(world, tmp_path / "b.json", settings(select="random"))["keys"])
    images = [s for s in set_samples(blocks(world)) if s.shard.name.startswith("s1")]
    learned = [sample for sample in images if sample.key in by_chance]
    assert len(learned) == 12
    team = Team(Accelerator(cpu=True), rank=0, size=1)
    torch.set_num_threads(1)
    recipe = make_recipe(training_settings(), world / "backbone", flip=False)
    model = load_backbone(world / "backbone", num_classes=4, seed=1)
    leg = Leg(num_steps=60, learning_rate=0.05, seed=1)
    train(model, load_samples(learned, 16, team.device, whole=True), recipe, leg, team)
    p = predict(model, load_samples(images, 16, team.device), recipe, team)
    entropy = -(p * np.log(p)).sum(1)
    for label in range(4):
        rows = [row for row, sample in enumerate(images) if sample.label == label]
        best = sorted(rows, key=lambda row: -entropy[row])[:3]
        assert {images[row].key for row in best} == {
            images[row].key for row in rows if images[row].key in chosen
        }


def test_blended_images_are_found_hard(world, tmp_path):
    found = run(world, tmp_path / "a.json", settings(**ENTROPY))
    assert found["entropy_kept"] > found["entropy"] > 0
    assert found["scorer_accuracy"] > 0.7
    hard = [key for key in found["keys"] if is_blended(key)]
    assert len(hard) > len(found["keys"]) / 2  # a quarter is blended


def is_blended(key):
    block, _, name = key.partition("-")
    row = int(name.removeprefix("s0-00000").removeprefix("s1-00000")) + 24 * (block == "b1")
    return row // 4 % 4 == 3


def test_the_choice_is_the_same_again_and_kept_under_what_decides_it(world, tmp_path, monkeypatch):
    work = tmp_path / "work"
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(work))
    first = run(world, tmp_path / "a.json", settings(**ENTROPY))
    units = set(work.glob("sift/*/*"))
    assert run(world, tmp_path / "b.json", settings(**ENTROPY)) == first
    assert set(work.glob("sift/*/*")) == units
    for unit in units:
        (unit / "record.json").unlink()
    with pytest.raises(FileNotFoundError):  # it was read and not made anew
        run(world, tmp_path / "c.json", settings(**ENTROPY))
    for unit in units:
        for file in unit.iterdir():
            file.unlink()
        unit.rmdir()
    assert run(world, tmp_path / "d.json", settings(**ENTROPY)) == first
    run(world, tmp_path / "e.json", settings(**ENTROPY), training_settings(momentum=0.5))
    assert len(set(work.glob("sift/*/*"))) == len(units) + 2


def test_two_processes_choose_the_same(world, tmp_path):
    run(world, tmp_path / "one.json", settings(**ENTROPY))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [__file__, str(world), str(tmp_path / "two.json")]
    path = f"{ROOT / 'src'}:{ROOT / 'tests'}"
    environment = {**os.environ, "SYNTHBRIDGE_WORK": str(tmp_path / "work"), "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "between 2 processes" in done.stdout
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_more_blocks_change_no_draw_of_chance(world):
    all_images = set_samples(blocks(world))
    first = set_samples(blocks(world)[:1])
    drawn = dict(zip([sample.key for sample in all_images], chances(all_images), strict=True))
    for sample, chance in zip(first, chances(first), strict=True):
        assert drawn[sample.key] == chance
    assert len(set(drawn.values())) == len(drawn)


if __name__ == "__main__":  # one of several processes
    run(Path(sys.argv[1]), Path(sys.argv[2]), settings(**ENTROPY))
