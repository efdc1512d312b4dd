"""The invariants that the design promises, on a tiny setting, through real `dvc` commands."""

import os
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file
from scratch import TINY, Scratch, clone_working_tree, copy_scratch

from synthbridge.core.files import hash_folder, read_json
from synthbridge.data.real import read_dataset
from synthbridge.params import read_params
from synthbridge.running.launch import PARALLEL_STAGES


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """A clone in which `dvc repro` ran to its end, in one process a stage. Do not change it."""
    scratch = clone_working_tree(tmp_path_factory.mktemp("first") / "clone")
    scratch.dvc("repro")
    scratch.commit()
    return scratch


@pytest.fixture
def scratch(reproduced, tmp_path):
    """A copy of the reproduced clone, to change."""
    return copy_scratch(reproduced, tmp_path / "copy")


def test_a_second_repro_runs_nothing(reproduced):
    printed = reproduced.dvc("repro")
    assert "Running stage" not in printed and "up to date" in printed


def test_same_bytes_again_and_with_two_processes(reproduced, tmp_path):
    """Invariants 1, 2 and 5: from nothing, elsewhere, two real processes: the same lock file."""
    again = clone_working_tree(tmp_path / "clone")
    printed = again.dvc("repro", SYNTHBRIDGE_PROCESSES="2")
    runs = re.split(r"Running stage '(\w+)[^']*':", printed)[1:]
    shared = {
        next(name for name in PARALLEL_STAGES if stage.startswith(name))
        for stage, said in zip(runs[::2], runs[1::2], strict=True)
        if "sharing the work between 2 processes" in said
    }
    assert shared == set(PARALLEL_STAGES) - {"sift"}  # no set asks: test_sift.py
    first, second = reproduced.lock(), again.lock()
    assert first.keys() == second.keys()
    for stage, entry in first.items():
        hashes = [
            {out["path"]: out["md5"] for out in lock.get("outs", [])}
            for lock in (entry, second[stage])
        ]
        assert hashes[0] == hashes[1], stage


def test_a_changed_backbone_leaves_the_generator_as_it_is(scratch):
    """The upstream's models are units of work of their own."""
    before = scratch.units("upstream")
    scratch.change({"upstream.backbone.num_steps": 9})
    assert scratch.ran("upstream") == {"upstream"}
    after = scratch.units("upstream")
    assert len(after) == len(before) + 1 and before.items() <= after.items()


def test_more_images_make_only_the_new_ones_and_going_back_makes_none(scratch):
    """Invariant 3."""
    before = scratch.units("generate")
    targets = [f"generate@digits-template-b{block}" for block in range(3)]
    scratch.change({"synthetic.template.images_per_class": 4})
    planned = {"invert@digits-template", "plan@digits-template"}  # which find nothing to learn
    assert scratch.ran(*targets) == {*planned, "generate@digits-template-b1"}
    after = scratch.units("generate")
    new = {name: made for name, made in after.items() if name not in before}
    assert {**before, **new} == after
    shards = scratch.folder.glob("data/sets/digits/template/b1/*.tar")
    assert len(new) == len(list(shards))
    for volume in (2, 4):
        scratch.change({"synthetic.template.images_per_class": volume})
        assert scratch.ran(*targets) == set()
    assert scratch.units("generate") == after


def test_a_stage_two_change_reruns_stage_two_and_the_report(scratch):
    """Invariant 4."""
    scratch.change({"real_leg.num_epochs_few_shot": 3})
    above = [scratch.units(name) for name in ("generate", "bridge", "invert")]
    stages = {stage.partition("@")[0] for stage in scratch.ran()}
    assert above == [scratch.units(name) for name in ("generate", "bridge", "invert")]
    trained = {"finetune_real", "finetune_mixed", "finetune_bridged"}
    assert stages == {"select", *trained, "report", "deliver"}


def test_an_added_arm_and_an_added_shot_train_only_themselves(scratch, monkeypatch):
    """Invariant 4: one arm at one shot is a run a seed; then all arms at the new shot."""
    before = scratch.units("finetune")
    scratch.change({"arms.real.vanilla_mixup": [{"train_on": "real", "mixup": 0.2}]})
    assert scratch.ran("finetune_real@digits") == {"finetune_real@digits"}
    with_arm = scratch.units("finetune")
    assert len(with_arm) == len(before) + len(TINY["seeds"])
    scratch.change({"shots": [1, 2]})
    assert scratch.ran("finetune_real@digits") == {"select@digits", "finetune_real@digits"}
    with_shot = scratch.units("finetune")
    monkeypatch.chdir(scratch.folder)
    num_arms = len(read_params().arms.real)
    assert len(with_shot) == len(with_arm) + num_arms * len(TINY["seeds"])
    assert before.items() <= with_arm.items() <= with_shot.items()


def test_editing_prose_reruns_nothing(scratch):
    readme = scratch.folder / "README.md"
    readme.write_text(readme.read_text() + "\nMore words.\n")
    params = scratch.folder / "params.yaml"
    params.write_text("# More words.\n" + params.read_text())
    assert "Running stage" not in scratch.dvc("repro", "--dry")


WRAP = """

_{name} = {name}


def {name}(*inputs, **options):
    {body}
"""
# For each kind of unit a stage, its units' folder, an out, and an edit on the unit's way: lines at
# the end of a file that wrap a function, or a default in a class of settings.
EDITS = {
    "shard, by a function that is imported late": (
        "generate@digits-dsi_1-b0",
        "generate",
        "data/sets/digits/dsi_1/b0",
        "diffusion/style_token.py",
        (
            "load_words",
            "return {w: 3 * v for w, v in _load_words(*inputs).items()}",
        ),
    ),
    "token": (
        "invert@digits-dsi_1",
        "invert",
        "data/styles/digits/dsi_1",
        "diffusion/style_token.py",
        (
            "save_words",
            "_save_words(inputs[0], {w: 2 * v for w, v in inputs[1].items()}, inputs[2])",
        ),
    ),
    "trained model, by a default in a settings class": (
        "finetune_real@digits",
        "finetune",
        "data/models/digits/real",
        "training/settings.py",
        ("mixup: float = Field(default=0.0, ge=0)", "mixup: float = Field(default=0.3, ge=0)"),
    ),
    "embedding": (
        "examine@digits-template",
        "embed",
        "data/examined/digits/template/findings",
        "clip/embedding.py",
        ("_unit", "return __unit(*inputs)[:, ::-1] ** 3"),
    ),
    "retrieved block": (
        "retrieve@digits-retrieved",
        "retrieve",
        "data/sets/digits/retrieved/b0",
        "clip/retrieval.py",
        (
            "choose_images",
            "hits, pairs = _choose_images(*inputs, **options)\n"
            "    return [replace(hit, kept=hit.kept[::-1]) for hit in hits], pairs",
        ),
    ),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_unit_is_made_anew_under_other_code(kind, scratch):
    """A finished unit must not come back under code that would not make it."""
    stage, units, out, file, (old, new) = EDITS[kind]
    before, made = scratch.units(units), hash_folder(scratch.folder / out)
    path = scratch.folder / "src/synthbridge" / file
    text = path.read_text()
    if " " in old:
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
    else:
        lines = "from dataclasses import replace\n" if "replace(" in new else ""
        path.write_text(text + lines + WRAP.format(name=old, body=new))
    assert scratch.ran("-s", stage) == {stage}
    after = scratch.units(units)
    assert before.items() < after.items()
    assert hash_folder(scratch.folder / out) != made


def test_no_unit_is_made_anew_when_nothing_on_its_way_changes(scratch):
    """What is shown, launched, forecast and checked decides no byte: DVC and keys agree."""
    kinds = ("upstream", "generate", "invert", "bridge", "finetune", "retrieve", "embed", "select")
    before = {kind: scratch.units(kind) for kind in kinds}
    package = scratch.folder / "src/synthbridge"
    sentence = ("running/launch.py", "finished work is kept", "what was finished is kept")
    shown = ("running/console.py", "s left", "seconds left")
    for file, old, new in (sentence, shown):
        path = package / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    for file in ("pipeline.py", "params.py", "forecast/amounts.py", "__main__.py"):
        path = package / file
        path.write_text(path.read_text() + "\n# another\n")
    assert "Running stage" not in scratch.dvc("repro", "--dry")
    for stage in ("generate@digits-dsi_1-b0", "invert@digits-dsi_1", "finetune_real@digits"):
        assert scratch.ran("-s", "-f", stage) == {stage}
    assert {kind: scratch.units(kind) for kind in kinds} == before


def test_editing_the_training_loop_draws_no_image(scratch):
    loop = scratch.folder / "src/synthbridge/training/loop.py"
    loop.write_text(loop.read_text() + "\n")
    printed = scratch.dvc("repro", "--dry")
    for stage in ("finetune_real", "bridge"):
        assert f"Running stage '{stage}@" in printed
    for stage in ("generate", "invert", "upstream"):
        assert f"Running stage '{stage}" not in printed


def test_a_colleague_who_pulls_reruns_nothing(scratch, tmp_path):
    """Invariant 6, with a local remote."""
    scratch.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    scratch.commit()
    scratch.dvc("push")
    scratch.run("git", "clone", "-q", str(scratch.folder), str(tmp_path / "colleague"))
    colleague = Scratch(tmp_path / "colleague")
    assert "Running stage" not in colleague.dvc("repro", "--dry", "--allow-missing")
    colleague.dvc("pull")
    printed = colleague.dvc("repro")
    assert "Running stage" not in printed and "up to date" in printed


def test_few_shot_styles_see_their_shots_alone(reproduced):
    """Invariant 7."""
    dataset = read_dataset(reproduced.folder / "data/real/digits")
    test = {sample.record["name"] for sample in dataset.samples("test")}
    seen = []
    for seed in (0, 1):
        record = read_json(reproduced.folder / f"data/styles/digits/dsi_1/s{seed}.json")
        shots = {sample.record["name"] for sample in dataset.train_samples(1, seed)}
        assert set(record["learned_from"]) == shots and len(shots) == 10
        assert not shots & test
        seen.append(shots)
    assert seen[0] != seen[1]


def test_shards_say_how_each_image_was_made(reproduced):
    from synthbridge.data.shards import index_shards

    folder = reproduced.folder / "data/sets/digits"
    samples = index_shards(folder / "dsi_1/b0", "s1-*.tar")
    assert len(samples) == 20
    styles = read_json(reproduced.folder / "data/styles/digits/dsi_1/index.json")
    record = samples[0].record
    assert record["prompt"] == "A zero photo in the style of <style>"
    assert record["style"] == styles["s1"] and record["sampler"] == "dpm++"
    assert len({sample.record["seed"] for sample in samples}) == 20
    others = {sample.record["seed"] for sample in index_shards(folder / "dsi_1/b0", "s0-*.tar")}
    assert not others & {sample.record["seed"] for sample in samples}


KILLED = {
    "generate": {"generate.num_steps": 20, "generate.classes_per_shard": 1},
    "invert": {"invert.num_steps": 300},  # a checkpoint every 100
    "finetune": {"real_leg.num_epochs_few_shot": 20},
}
TARGETS = {
    "generate": ("generate@digits-template-b0", "data/sets/digits/template/b0"),
    "invert": ("invert@digits-dsi_1", "data/styles/digits/dsi_1"),
    "finetune": ("finetune_real@digits", "data/results/digits/real"),
}


def _progress_made(scratch, stage):
    """What a killed run must find again: finished units, or an inversion's checkpoint."""
    if stage == "invert":
        return list((scratch.folder / "work" / stage).glob("??/*.checkpoint"))
    return list(scratch.units(stage))


@pytest.mark.parametrize("stage", ["generate", "invert", "finetune"])
def test_a_killed_stage_goes_on_where_it_was(stage, scratch, tmp_path):
    """Invariant 2: kill -9 in the middle; the next run keeps what was done, same bytes."""
    target, out = TARGETS[stage]
    scratch.change(KILLED[stage])
    whole = copy_scratch(scratch, tmp_path / "whole")
    before = set(_progress_made(scratch, stage))
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        cwd=scratch.folder,
        env=scratch.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not set(_progress_made(scratch, stage)) - before:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = scratch.units(stage)
    checkpoints = _progress_made(scratch, stage) if stage == "invert" else []
    assert not (scratch.folder / out / "index.json").exists()
    scratch.dvc("repro", target)
    whole.dvc("repro", target)
    made = scratch.units(stage)
    assert kept.items() <= made.items()
    assert len(made) > len(kept)
    assert all(not checkpoint.exists() for checkpoint in checkpoints)
    assert hash_folder(scratch.folder / out) == hash_folder(whole.folder / out)


def test_a_full_disk_leaves_nothing_half_written(scratch):
    """A limit on file sizes stands for the full disk: the write fails with an OSError."""
    scratch.change({"generate.jpeg_quality": 94})

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    out = scratch.folder / "data/sets/digits/template/b0"
    before = scratch.units("generate")
    result = subprocess.run(
        [
            sys.executable,
            "src",
            "generate",
            "--plan",
            "data/plan/digits/template/b0.json",
            "--style",
            "data/styles/digits/template",
            "--generator",
            "data/upstream/generator",
            "--out",
            "new",
        ],
        cwd=scratch.folder,
        env=scratch.environment(),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 1
    assert "generate: [Errno 27] File too large" in result.stderr
    assert scratch.units("generate") == before
    assert not (scratch.folder / "new").exists() and out.exists()


def test_a_truncated_shard_stops_the_run_and_is_named(scratch):
    shard = scratch.folder / "data/sets/digits/template/b0/all-00000.tar"
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:3000])
    before = hash_folder(scratch.folder / "data/stage_one/digits/template")
    printed = scratch.run(
        sys.executable,
        "src",
        "bridge",
        "--real",
        "data/real/digits",
        "--backbone",
        "data/upstream/backbone",
        "--blocks",
        "data/sets/digits/template",
        "--num-blocks",
        "1",
        "--out",
        "data/stage_one/digits/template",
        ok=False,
    )
    assert "template/b0/all-00000.tar is not a whole tar" in printed
    assert hash_folder(scratch.folder / "data/stage_one/digits/template") == before


def test_rates_set_from_the_command_line_are_floats(scratch, monkeypatch):
    scratch.dvc("exp", "run", "-S", "stage_one.plain.learning_rate=2e-5", "prepare@digits")
    assert "2e-05" in (scratch.folder / "params.yaml").read_text()
    monkeypatch.chdir(scratch.folder)
    assert read_params().stage_one["plain"].learning_rate == 2e-5


def test_bridged_models_start_from_stage_one(reproduced):
    """Two few-shot epochs move the weights a little: nearer to stage one than to the backbone."""
    folder = reproduced.folder / "data"
    final = load_file(folder / "models/digits/bridged/template/bridged/1-s0.safetensors")
    stage_one = load_file(folder / "stage_one/digits/template/plain/s0.safetensors")
    backbone = load_file(folder / "upstream/backbone/model.safetensors")
    name = next(key for key in final if key.endswith("conv1.weight") and "layer1" in key)
    assert (final[name] - stage_one[name]).norm() < (final[name] - backbone[name]).norm()
    only = load_file(folder / "models/digits/bridged/template/synthetic_only/1-s0.safetensors")
    assert all((only[key] == stage_one[key]).all() for key in only)


def test_results_are_readable_by_dvc(reproduced):
    assert "bridged" in reproduced.dvc("metrics", "show")
    reproduced.dvc("plots", "show")
