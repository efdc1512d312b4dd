"""Stages `invert`, `plan` and `generate` on an untrained miniature: who sees which real image."""

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.data.shards import encode_png, index_shard, index_shards, read_image, write_shard
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.settings import (
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
)
from synthbridge.prompts.templates import template_prompts
from synthbridge.stages.generate import generate
from synthbridge.stages.invert import InvertParams, invert
from synthbridge.stages.plan import PlanInputs, PlanParams, plan
from synthbridge.training.images import load_samples
from synthbridge.upstream import generator as miniature
from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.pool import write_caption
from synthbridge.upstream.tokenizer import train_tokenizer

NAMES = ("seven", "eight")
SEEDS = [0, 1]
INVERT = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=2,
    batch_size=2,
    learning_rate=0.05,
    samples_per_class=1,
    seed=0,
)
GENERATE = SamplingSettings(
    sampler="ddpm",
    num_steps=4,
    guided_fraction=1.0,
    jpeg_quality=95,
    images_per_block=3,
    classes_per_shard=1,
    seed=0,
)
TEMPLATE = {"prompts": "template", "shots": None, "guidance_scale": 1.5, "images_per_class": 3}
GUIDED = {**TEMPLATE, "shots": 2, "image_strength": 0.5}
TUNE = TuneSettings(rank=2, alpha=2, steps_per_class=2, batch_size=2, learning_rate=0.05, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Upstream and real data: four training images a class, two of them the shots of each seed."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    captions = [
        write_caption(name, ("bold",), style_fraction=0.5, rng=rng)
        for name in NAMES
        for _ in "abcdef"
    ]
    clip = folder / "clip"
    save_clip(make_clip(train_tokenizer(captions, clip), seed=0), clip)
    text_encoder, tokenizer = miniature.load_text_tower(clip)
    unet = miniature.make_unet(text_encoder.config.hidden_size, 0)
    models = (miniature.make_vae(0), unet, miniature.make_scheduler(), text_encoder, tokenizer)
    miniature.save_generator(folder / "generator", *models)
    images = rng.integers(0, 256, (8, 20, 16, 3), dtype=np.uint8)
    samples = [
        {"__key__": f"k{i}", "png": encode_png(images[i]), "cls": i % 2, "json": {"name": f"{i}"}}
        for i in range(8)
    ]
    write_shard(folder / "real/train-00000.tar", samples)
    counts = {"train": 8, "validation": 0, "test": 0}
    write_json(
        folder / "real/dataset.json",
        {"class_names": NAMES, "image_size": 16, "flip": False, "counts": counts},
    )
    rankings = [[["0", "2", "4", "6"], ["1", "3", "5", "7"]], [["6", "4"], ["7", "5"]]]
    write_json(folder / "real/few_shot.json", rankings)
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def _invert(
    folder: Path, out: Path, settings: dict[str, Any], clip: str = "clip", **changes: Any
) -> Path:
    """Run the stage; `changes` are of `invert` in params.yaml."""
    inversion = INVERT.model_copy(update=changes)
    params = InvertParams(inversion, TUNE, GENERATE, SyntheticSettings(**settings), SEEDS)
    inputs = {"real": folder / "real", "generator": folder / "generator", "clip": folder / clip}
    invert(params, **inputs, out=out / "style")
    return out / "style"


def _draw(folder: Path, out: Path, settings: dict[str, Any], **changes: Any) -> dict[str, list]:
    """Run the three stages; return the samples of each subset.

    `changes` are of both `invert` and `generate` in params.yaml.
    """
    style = _invert(folder, out, settings, **changes)
    params = PlanParams(
        dataset="birds",
        source="folder",
        synthetic=SyntheticSettings(**settings),
        placeholder="<style>",
        images_per_block=3,
    )
    generator = folder / "generator"
    inputs = PlanInputs(folder / "real", style, folder / "clip", generator, folder / "prompts")
    plan(params, inputs, out=out, num_blocks=1)
    generate(
        GENERATE.model_copy(update=changes),
        plan=out / "b0.json",
        style=style,
        generator=generator,
        out=out / "b0",
    )
    return {
        subset: index_shards(out / "b0", f"{subset}-*.tar")
        for subset in read_json(style / "index.json")
    }


def test_a_set_without_shots_takes_nothing(folder: Path, tmp_path: Path, work: Path):
    style = _invert(folder, tmp_path, TEMPLATE)
    assert [path.name for path in style.iterdir()] == ["index.json"]
    assert read_json(style / "index.json") == {"all": None}
    assert not work.exists()


def test_images_start_from_the_shots_of_their_own_seed(folder: Path, tmp_path: Path, work: Path):
    drawn = _draw(folder, tmp_path, GUIDED)
    shots = {"s0": [["0", "2"], ["1", "3"]], "s1": [["4", "6"], ["5", "7"]]}
    assert drawn.keys() == shots.keys()
    for subset, samples in drawn.items():
        starts = index_shard(tmp_path / f"style/{subset}.tar")
        assert {sample.record["name"] for sample in starts} == {*sum(shots[subset], [])}
        assert {read_image(sample).size for sample in starts} == {(16, 16)}
        for label in (0, 1):
            first, second = shots[subset][label]
            records = [sample.record for sample in samples if sample.label == label]
            assert [record["start_image"] for record in records] == [first, second, first]
            assert {record["image_strength"] for record in records} == {0.5}
            assert all(NAMES[label] in record["prompt"] for record in records)


def test_finished_subsets_are_not_made_again(folder: Path, tmp_path: Path, work: Path):
    settings = {**GUIDED, "prompts": "class_tokens"}
    first = _invert(folder, tmp_path / "first", settings)
    made = {path: path.stat().st_mtime_ns for path in work.glob("invert/??/*")}
    assert len(made) == len(SEEDS)  # a subset each
    shutil.rmtree(next(iter(made)))  # as if killed before the second
    second = _invert(folder, tmp_path / "second", settings)
    assert hash_folder(first) == hash_folder(second)
    again = {path: path.stat().st_mtime_ns for path in work.glob("invert/??/*")}
    assert sum(again[path] == made[path] for path in made) == 1


@pytest.mark.parametrize("prompts", ["class_tokens", "oracle"])
def test_each_class_is_drawn_with_its_own_word(
    folder: Path, tmp_path: Path, work: Path, prompts: str
):
    drawn = _draw(folder, tmp_path, {**GUIDED, "prompts": prompts, "image_strength": None})
    words = [load_file(tmp_path / f"style/{subset}.safetensors") for subset in ("s0", "s1")]
    assert all(tokens.keys() == {"<style-0000>", "<style-0001>"} for tokens in words)
    assert (words[0]["<style-0000>"] != words[1]["<style-0000>"]).any()
    for samples in drawn.values():
        prompts_drawn = {(sample.label, sample.record["prompt"]) for sample in samples}
        assert prompts_drawn == {(0, "A <style-0000> photo"), (1, "A <style-0001> photo")}
        assert not any("start_image" in sample.record for sample in samples)


def test_oracle_prompts_need_a_clip(folder: Path, tmp_path: Path, work: Path):
    with pytest.raises(ValueError, match=r"holds no CLIP \(model.safetensors\); name one below"):
        _invert(folder, tmp_path, {**TEMPLATE, "prompts": "oracle", "shots": 1}, clip="real")


def test_all_real_images_are_not_copied(folder: Path, tmp_path: Path, work: Path):
    style = _invert(folder, tmp_path, {**TEMPLATE, "prompts": "dsi", "shots": "full"})
    assert (style / "all.safetensors").is_file() and not (style / "all.tar").exists()


def test_images_of_mixed_classes_say_how_much_of_each_they_are(
    folder: Path, tmp_path: Path, work: Path
):
    drawn = _draw(folder, tmp_path, {**GUIDED, "mix_gamma": 0.8})
    of = {"0": 0, "2": 0, "1": 1, "3": 1}
    of_prompt = 0.5**0.8
    for sample in drawn["s0"]:
        record = sample.record
        start = of[record["start_image"]]
        assert start != sample.label and NAMES[sample.label] in record["prompt"]
        assert record["soft_label"] == {str(start): 1 - of_prompt, str(sample.label): of_prompt}
        assert record["num_classes"] == 2
    labels = load_samples(drawn["s0"], 16, torch.device("cpu")).labels
    assert labels.shape == (6, 2) and labels.sum(1).tolist() == pytest.approx([1] * 6)


@pytest.mark.parametrize("tuned", ["dataset", "class"])
def test_a_tuned_generator_draws_with_its_subsets_loras(
    folder: Path, tmp_path: Path, work: Path, tuned: str
):
    settings = {**TEMPLATE, "shots": 2, "tuned": tuned}
    drawn = _draw(folder, tmp_path, settings)
    plain = _draw(folder, tmp_path / "plain", TEMPLATE)["all"]
    names = ["lora"] if tuned == "dataset" else ["lora-0000", "lora-0001"]
    made = sorted(path.name for path in (tmp_path / "style").glob("s0*"))
    loras = [f"s0_{name}.safetensors" for name in names]
    assert made == sorted(["s0.csv", "s0.json", "s0.png", "s0.tar", *loras])
    index = read_json(tmp_path / "style/index.json")
    assert len(set(index.values())) == 2 and all(index.values())  # each from its own shots
    for subset, samples in drawn.items():
        assert {sample.record["prompt"] for sample in samples} <= set(
            prompt for name in NAMES for prompt in template_prompts(name)
        )
        for sample in samples:
            assert (sample.record["tuned"], sample.record["style"]) == (tuned, index[subset])
    images = [[np.asarray(read_image(one)) for one in samples] for samples in (plain, drawn["s0"])]
    assert not any("tuned" in sample.record for sample in plain)
    assert any((one != other).any() for one, other in zip(*images, strict=True))
    again = _draw(folder, tmp_path / "again", settings)
    assert hash_folder(tmp_path / "b0") == hash_folder(tmp_path / "again/b0")
    assert again.keys() == drawn.keys()
    assert not list(work.rglob("*.checkpoint*"))


def test_loras_serve_other_prompts_too(folder: Path, tmp_path: Path, work: Path):
    """What is learned does not depend on the prompts, nor does a style depend on `tune`."""
    settings = {**TEMPLATE, "shots": 2, "tuned": "dataset"}
    _invert(folder, tmp_path / "first", settings)
    made = set(work.glob("invert/??/*"))
    _invert(folder, tmp_path / "second", {**settings, "prompts": "file", "prompt_file": "a.yaml"})
    assert set(work.glob("invert/??/*")) == made


class CompiledUNet(torch.nn.Module):
    """Stands for what torch's compiler makes of a UNet: the same numbers, and it counts."""

    def __init__(self, unet: torch.nn.Module):
        super().__init__()
        self.unet, self.num_calls = unet, 0

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.unet, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.num_calls += 1
        return self.unet(*args, **kwargs)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[CompiledUNet]:
    """Every compiled UNet, without a compiler."""
    made: list[CompiledUNet] = []

    def compile_unet(model: Generator) -> Generator:
        fast = copy.copy(model)
        made.append(CompiledUNet(model.denoiser))
        fast.denoiser = made[-1]
        return fast

    monkeypatch.setattr(Generator, "compiled", compile_unet)
    return made


def test_the_compiled_unet_learns_and_draws_where_the_params_say_so(
    folder: Path, work: Path, tmp_path: Path, compiled: list[CompiledUNet]
):
    learned = {**TEMPLATE, "prompts": "dsi", "shots": 2}
    plain = _draw(folder, tmp_path / "plain", learned)
    assert not compiled
    # All is made anew, since the keys hold it, and by the compiled UNets.
    drawn = _draw(folder, tmp_path / "compiled", learned, compile=True)
    *learners, drawer = compiled
    num_readings = 3  # of two steps: before the first, and after each
    assert [unet.num_calls for unet in learners] == [INVERT.num_steps + num_readings] * len(SEEDS)
    num_batches = sum(len(samples) for samples in drawn.values()) // GENERATE.images_per_block
    assert drawer.num_calls == num_batches * GENERATE.num_steps
    for subset, samples in drawn.items():
        assert [sample.record for sample in samples] == [one.record for one in plain[subset]]
