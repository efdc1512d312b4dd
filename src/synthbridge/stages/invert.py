"""Stage `invert`: the real training images that a set may see become its style tokens."""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import encode_png, read_square
from synthbridge.data.synthetic import subset_names
from synthbridge.diffusion.settings import InversionSettings, SamplingSettings, SyntheticSettings
from synthbridge.files import hash_file, hash_folder, whole_file, write_json
from synthbridge.progress import StageLog
from synthbridge.stages.launch import end_share
from synthbridge.stages.params import read_params
from synthbridge.work import copy_unit, unit_key, unit_path, whole_unit

STYLE, CURVE, SAMPLES, RECORD = "style.safetensors", "loss.csv", "samples.png", "record.json"
SAMPLES_AT_ONCE = 64  # images of the grid denoised at once


@dataclass(frozen=True)
class InvertParams:
    """What the stage reads of params.yaml."""

    invert: InversionSettings
    generate: SamplingSettings  # draws the grid of samples
    synthetic: SyntheticSettings
    seeds: Sequence[int]


def invert(params: InvertParams, *, real: Path, generator: Path, out: Path) -> None:
    """Write a style token, its loss curve and a grid of samples for every subset of a set.

    A set without a style (all but `prompts: dsi`) has nothing to learn: its index says just that.
    """
    subsets = subset_names(params.synthetic.shots, params.seeds)
    if params.synthetic.prompts != "dsi":
        log = StageLog(f"invert: a {params.synthetic.prompts} set has no style to learn")
        end_share()
        write_json(out / "index.json", {subset: None for subset in subsets})
        return log.done("an index without styles", out)
    log = StageLog(
        f"invert: learning {len(subsets)} style token(s) from {params.synthetic.shots} images "
        f"a class, {params.invert.num_steps} steps each"
    )
    from synthbridge.stages.processes import share_units, start_accelerator

    dataset = read_dataset(real)
    inputs = {"real": hash_folder(real), "generator": hash_folder(generator)}
    with start_accelerator() as accelerator:
        paths = {
            subset: unit_path("invert", _key(params, seed, inputs))
            for subset, seed in subsets.items()
        }
        load = cache(partial(_load, generator, params.invert.placeholder, accelerator.device))
        for subset in share_units(accelerator, list(subsets), lambda name: paths[name].is_dir()):
            _learn(params, dataset, subsets[subset], load(), paths[subset])
        if accelerator.is_main_process:
            for subset, path in paths.items():
                copy_unit(path, lambda file, subset=subset: out / f"{subset}{file.suffix}")
            tokens = {subset: hash_file(path / STYLE) for subset, path in paths.items()}
            write_json(out / "index.json", tokens)
    log.done(f"{len(subsets)} style token(s)", out)


def _key(params: InvertParams, seed: int, inputs: dict[str, str]) -> str:
    """Return the key of one style token's unit of work."""
    from synthbridge.diffusion import inversion, sampling  # noqa: F401  (part of the code's hash)

    sampling_settings = params.generate.model_dump(
        include={"sampler", "num_steps", "guided_share", "seed"}
    )
    return unit_key(
        invert=params.invert.model_dump(),
        samples=[sampling_settings, params.synthetic.guidance_scale],
        shots=params.synthetic.shots,
        seed=seed,
        **inputs,
    )


def _load(generator: Path, placeholder: str, device):
    """Load the generator; refuse a placeholder that is one of its words."""
    from synthbridge.diffusion.loading import load_text_to_image
    from synthbridge.diffusion.style_token import check_placeholder

    model = load_text_to_image(generator).to_fastest(device)
    check_placeholder(model.tokenizer, placeholder)
    return model


def _learn(params: InvertParams, dataset: PreparedDataset, seed: int, model, path: Path) -> None:
    """Learn one style token and leave it in the work folder; a killed run goes on."""
    from synthbridge.diffusion.inversion import invert_style
    from synthbridge.diffusion.style_token import save_style_token

    size = model.image_size
    assert params.synthetic.shots is not None
    samples = dataset.train_samples(params.synthetic.shots, seed)
    images = np.stack([read_square(sample, size) for sample in samples])
    checkpoint = path.with_suffix(".checkpoint")
    learned = invert_style(
        model,
        params.invert,
        images,
        [sample.label for sample in samples],
        dataset.class_names,
        flip=dataset.flip,
        checkpoint=checkpoint,
    )
    with whole_unit(path) as unit:
        save_style_token(unit / STYLE, params.invert.placeholder, learned.vector)
        _write_curve(unit / CURVE, learned.losses, learned.fixed_noise_losses)
        grid = _draw_samples(params, model, dataset.class_names, learned.vector)
        (unit / SAMPLES).write_bytes(encode_png(grid))
        names = sorted(sample.record["name"] for sample in samples)
        write_json(unit / RECORD, {"learned_from": names, "seed": seed})
    checkpoint.unlink(missing_ok=True)


def _write_curve(path: Path, losses: list[float], fixed_noise: dict[int, float]) -> None:
    """Write the loss of every step, and beside it the readings at fixed noise."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", "loss", "fixed_noise_loss"])
        for step in range(len(losses) + 1):
            loss = f"{losses[step - 1]:.6f}" if step else ""
            reading = f"{fixed_noise[step]:.6f}" if step in fixed_noise else ""
            rows.writerow([step, loss, reading])


def _draw_samples(params: InvertParams, model, class_names: Sequence[str], vector) -> np.ndarray:
    """Draw the style prompt of every class: (H, W, 3) uint8, a class a row."""
    from synthbridge.diffusion.prompts import image_seed, style_prompt
    from synthbridge.diffusion.sampling import sample_images
    from synthbridge.diffusion.style_token import put_style_token

    put_style_token(model.tokenizer, model.text_encoder, params.invert.placeholder, vector)
    columns = range(params.invert.samples_per_class)
    batches = sample_images(
        model,
        [style_prompt(name, params.invert.placeholder) for name in class_names for _ in columns],
        [image_seed(params.generate.seed, c, i) for c in range(len(class_names)) for i in columns],
        sampler=params.generate.sampler,
        num_steps=params.generate.num_steps,
        guidance_scale=params.synthetic.guidance_scale,
        guided_share=params.generate.guided_share,
        batch_size=SAMPLES_AT_ONCE,
    )
    drawn = np.concatenate(list(batches))  # (classes * columns, H, W, 3)
    rows = np.split(drawn, len(class_names))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="invert", description=__doc__)
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--generator", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    params = read_params()
    invert(
        InvertParams(params.invert, params.generate, params.synthetic[args.set], params.seeds),
        real=args.real,
        generator=args.generator,
        out=args.out,
    )
