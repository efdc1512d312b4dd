"""The stages at full size: one small data set goes through all of them, one after another."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from architectures import CLASSIFIER_SIZE, INITIAL_WORD
from full_size_scale import Scale
from PIL import Image
from released import FAMILIES, Family
from safetensors import safe_open

from synthbridge.core.files import write_json
from synthbridge.data.settings import DatasetSettings
from synthbridge.diffusion.settings import (
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
)
from synthbridge.training.settings import (
    LegSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)

CLASS_NAMES = ("cat", "dog")
RATE = 1e-3
TUNE = TuneSettings(  # read, and not used: no set here has a LoRA
    rank=16, alpha=16, steps_per_class=1, batch_size=1, learning_rate=1e-4, seed=0
)


def inversion_settings(scale: Scale, batch: int) -> InversionSettings:
    """Return what params.yaml would say of a style inversion."""
    return InversionSettings(
        placeholder="<style>",
        initial_word=INITIAL_WORD,
        num_steps=scale.inversion_steps,
        batch_size=batch,
        learning_rate=5e-4 * batch,
        samples_per_class=1,
        seed=0,
    )


def guidance_of(family: Family) -> float:
    """Return the scale that images are drawn with."""
    return 3.5 if family.rows_per_step == 2 else 1.0


def sampling_settings(scale: Scale, family: Family) -> SamplingSettings:
    """Return what params.yaml would say of drawing images: the paper's sampler, or Euler's."""
    most = scale.denoising_steps if family.rows_per_step == 2 else family.num_steps
    return SamplingSettings(
        sampler="ddpm" if family.denoiser == "unet" else "euler",
        num_steps=min(scale.denoising_steps, most),
        guided_fraction=1.0,
        jpeg_quality=95,
        seed=0,
        images_per_block=scale.images_per_class,
        classes_per_shard=scale.classes_per_shard,
    )


def synthetic_settings(scale: Scale, family: Family) -> SyntheticSettings:
    """Return what params.yaml would say of the one synthetic set, with a style if there is one."""
    return SyntheticSettings(
        prompts="dsi" if family.learns_words else "template",
        shots=1 if family.learns_words else None,
        guidance_scale=guidance_of(family),
        images_per_class=scale.images_per_class,
    )


def training_settings(batch_size: int) -> TrainingSettings:
    """Return what params.yaml would say of training: the paper's, with ImageNet's crops."""
    return TrainingSettings(
        batch_size=batch_size,
        momentum=0.9,
        weight_decay=5e-4,
        image_size=CLASSIFIER_SIZE,
        resize_size=256,
        min_crop_area=0.08,
        max_stretch=4 / 3,
        augment=True,
        normalisation="backbone",
        start="backbone",
        frozen_norm="eval",
    )


def stage_one_settings(scale: Scale) -> dict[str, StageOneSettings]:
    """Return what params.yaml would say of stage one."""
    steps = scale.training_steps
    return {"plain": StageOneSettings(num_steps=steps, learning_rate=RATE, mixup=0.0)}


def write_real_images(folder: Path, size: int) -> None:
    """Write a folder of coarse noise, a train, validation and test image a class; prepare it."""
    from synthbridge.stages.prepare import prepare

    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in CLASS_NAMES:
            path = folder / "raw" / split / name / "image.png"
            path.parent.mkdir(parents=True)
            small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
            small.resize((size, size), Image.Resampling.BICUBIC).save(path)
    settings = DatasetSettings(source="folder", flip=False, validation_per_class=1, seed=0)
    prepare(settings, raw=folder / "raw", out=folder / "real")


def run_invert(folder: Path, scale: Scale, name: str) -> None:
    """Learn the style token, or write that there is none."""
    from synthbridge.stages.invert import InvertParams, invert

    params = InvertParams(
        inversion_settings(scale, scale.inversion_batch),
        TUNE,
        sampling_settings(scale, FAMILIES[name]),
        synthetic_settings(scale, FAMILIES[name]),
        seeds=[0],
    )
    invert(
        params,
        real=folder / "real",
        generator=folder / "generator",
        clip=folder / "clip",
        out=folder / "styles",  # no CLIP: the style prompt needs none
    )
    check_finite(folder / "styles")


def run_generate(folder: Path, scale: Scale, name: str) -> None:
    """Draw the synthetic set, which has one block."""
    from synthbridge.stages.generate import generate
    from synthbridge.stages.plan import PlanInputs, PlanParams, plan

    params = PlanParams(
        dataset="noise",
        source="folder",
        synthetic=synthetic_settings(scale, FAMILIES[name]),
        placeholder=inversion_settings(scale, 1).placeholder,
        images_per_block=scale.images_per_class,
    )
    read = ("real", "styles", "clip", "generator", "prompts")  # no CLIP and no lists: DSI's prompt
    inputs = PlanInputs(*(folder / name for name in read))
    plan(params, inputs, out=folder / "plan", num_blocks=1)
    generate(
        sampling_settings(scale, FAMILIES[name]),
        plan=folder / "plan/b0.json",
        style=folder / "styles",
        generator=folder / "generator",
        out=folder / "block",
    )


def run_bridge(folder: Path, scale: Scale, name: str) -> None:
    """Train a classifier on the synthetic set."""
    from synthbridge.stages.bridge import BridgeParams, bridge

    bridge(
        BridgeParams(stage_one_settings(scale), training_settings(scale.training_batch), seeds=[0]),
        real=folder / "real",
        backbone=folder / name,
        blocks=[folder / "block"],
        out=folder / "stage_one" / name,
    )
    check_finite(folder / "stage_one" / name)


def run_finetune(folder: Path, scale: Scale, name: str) -> None:
    """Train it further on a real image a class, and let it read the test images."""
    from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune

    rates, results = folder / "results" / f"{name}.json", folder / "results" / name
    write_json(rates, {"1": {"learning_rate": RATE, "held_out_accuracy": None}})
    steps = scale.training_steps  # an epoch of one image a class is one step
    params = FinetuneParams(
        arms={"bridged": [LegSettings(stage_one="plain"), LegSettings(train_on="real")]},
        shots=[1],
        seeds=[0],
        training=training_settings(scale.training_batch),
        real_leg=RealLegSettings(
            learning_rates=[RATE],
            select_on="validation",
            num_epochs=steps,
            num_epochs_few_shot=steps,
        ),
        stage_one=stage_one_settings(scale),
    )
    inputs = FinetuneInputs(
        folder / "real", folder / name, rates, stage_one=folder / "stage_one" / name
    )
    labels = {"dataset": "noise", "set": "dsi_1", "method": "dsi"}
    finetune(params, inputs, labels=labels, models=folder / "models" / name, results=results)
    check_finite(folder / "models" / name)
    check_finite(results)


def check_finite(folder: Path) -> None:
    """Check every number that a stage left.

    Raises:
        ValueError: naming the file and what in it is no number.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (safetensors' own handle)
                    _demand(bool(torch.isfinite(file.get_tensor(name)).all()), path, name)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                for name in arrays.files:
                    _demand(bool(np.isfinite(arrays[name]).all()), path, name)
        elif path.suffix == ".json":
            text = path.read_text(encoding="utf-8")
            json.loads(text, parse_constant=lambda name: _demand(False, path, name))  # noqa: B023
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                values = [float(cell) for row in list(csv.reader(file))[1:] for cell in row if cell]
            _demand(bool(np.isfinite(values).all()), path, "a column")
        elif path.suffix == ".png":  # an image with a number that is none is drawn all black
            _demand(np.asarray(Image.open(path)).std() > 0, path, "the picture")


def _demand(is_finite: bool, path: Path, name: str) -> None:
    if not is_finite:
        raise ValueError(f"{path}: {name} holds what is no finite number")
