"""Stage `invert`: what a set takes from the real training images that it may see.

A style token, a word a class, a LoRA of the generator, or the shots themselves, for images to
start from.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbridge.core.files import hash_file, hash_folder, hash_value, whole_file, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, measuring
from synthbridge.core.settings import Sections
from synthbridge.core.shares import end_share
from synthbridge.core.units import copy_unit, unit_path, whole_unit
from synthbridge.data.manifests import Shots
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import Sample, encode_png, read_image, read_square, write_shard
from synthbridge.data.synthetic import subset_names
from synthbridge.diffusion.settings import (
    LEARNED,
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
)

if TYPE_CHECKING:
    from synthbridge.diffusion.inversion import Lesson
    from synthbridge.diffusion.tuning import LearnedLora

STYLE, CURVE, SAMPLES, RECORD = "style.safetensors", "loss.csv", "samples.png", "record.json"
STARTS = "starts.tar"  # the shots, of the size that the generator draws
SAMPLES_AT_ONCE = 512  # images of the grid denoised at once; fewer if they are large


@dataclass(frozen=True)
class InvertParams:
    """What the stage reads of params.yaml."""

    invert: InversionSettings
    tune: TuneSettings
    generate: SamplingSettings  # draws the grid of samples
    synthetic: SyntheticSettings
    seeds: Sequence[int]


def invert(params: InvertParams, *, real: Path, generator: Path, clip: Path, out: Path) -> None:
    """Write what every subset of a set takes from the real images that it may see.

    Learned words or LoRAs with their loss curve and a grid of samples; of a number of shots the
    images. A set that sees no real image gets an index that says just that.
    """
    subsets = subset_names(params.synthetic.shots, params.seeds)
    if params.synthetic.shots is None:
        log = StageLog("invert", "the set sees no real image, and there is nothing to learn")
        end_share()
        write_json(out / "index.json", {subset: None for subset in subsets})
        return log.done("an index without styles", out)
    has_words, tuned = params.synthetic.prompts in LEARNED, params.synthetic.tuned
    log = StageLog(
        "invert",
        f"{f'a LoRA a {tuned}' if tuned else params.synthetic.prompts} for {len(subsets)} "
        f"subset(s), {_how_many(params.synthetic.shots)} images a class, {_how_long(params)}",
    )
    from synthbridge.core.processes import share_units, start_accelerator

    dataset = read_dataset(real)
    inputs = {"real": hash_folder(real), "generator": hash_folder(generator)}
    if params.synthetic.prompts == "oracle":
        inputs["clip"] = hash_folder(clip)
    with start_accelerator() as accelerator:
        paths = {
            subset: unit_path("invert", _key(params, seed, inputs))
            for subset, seed in subsets.items()
        }
        missing = [path for path in paths.values() if not path.is_dir()]
        log.expect(
            accelerator=accelerator,
            generator=generator,
            params=params,
            real=real,
            num_missing=len(missing),
        )
        placeholder = params.invert.placeholder if has_words else None
        learns = has_words or tuned is not None
        load = cache(
            partial(_load, generator, placeholder, accelerator.device, draws_only=not learns)
        )
        for subset in share_units(accelerator, list(subsets), lambda name: paths[name].is_dir()):
            with measuring(subset):
                _make_unit(params, dataset, subsets[subset], load(), clip, paths[subset])
        if accelerator.is_main_process:
            for subset, path in paths.items():
                copy_unit(path, lambda file, subset=subset: out / _name_in_out(subset, file))
            styles = {
                subset: _hash_learned(path) if learns else None for subset, path in paths.items()
            }
            write_json(out / "index.json", styles)
    log.done(f"{len(subsets)} subset(s)", out)


def _how_many(shots: Shots) -> str:
    return "all" if shots == "full" else str(shots)


def _how_long(params: InvertParams) -> str:
    if params.synthetic.tuned is not None:
        return f"{params.tune.steps_per_class} steps for each class"
    is_learned = params.synthetic.prompts in LEARNED
    return f"{params.invert.num_steps} steps each" if is_learned else "to start from"


def _key(params: InvertParams, seed: int, inputs: dict[str, str]) -> str:
    """Return the key of one subset's unit of work."""
    sampling_settings = params.generate.model_dump(
        include={"sampler", "num_steps", "guided_fraction", "seed"}
    )
    learned: dict[str, Any] = {
        "prompts": params.synthetic.prompts,
        "invert": params.invert.model_dump(),
    }
    if params.synthetic.tuned is not None:  # whatever the prompts that will be drawn with
        learned = {
            "tuned": params.synthetic.tuned,
            "tune": params.tune.model_dump(),
            "samples_per_class": params.invert.samples_per_class,
        }
    return unit_key(
        make=_make_unit,
        **learned,
        samples=[sampling_settings, params.synthetic.guidance_scale],
        shots=params.synthetic.shots,
        seed=seed,
        **inputs,
    )


def _name_in_out(subset: str, file: Path) -> str:
    """Return what a unit's file is called in the out: all.safetensors, all_2.safetensors, ..."""
    if file.name.startswith("lora"):
        return f"{subset}_{file.name}"
    second = "_2" if file.stem.endswith("_2") else ""  # of the generator's second vocabulary
    return f"{subset}{second}{file.suffix}"


def _hash_learned(unit: Path) -> str:
    """Return one hash of all files of learned words, or of LoRAs."""
    hashes = [hash_file(file) for file in sorted(unit.glob("*.safetensors"))]
    return hashes[0] if len(hashes) == 1 else hash_value(hashes)


def _load(generator: Path, placeholder: str | None, device, *, draws_only: bool):
    """Load the generator; refuse one that cannot learn `placeholder`, where a word is learned."""
    from synthbridge.diffusion.loading import load_generator
    from synthbridge.diffusion.style_token import check_placeholder, require_words

    model = load_generator(generator).to_fastest(device, draws_only=draws_only)
    if placeholder is not None:
        require_words(model)
        for vocabulary in model.vocabularies:
            check_placeholder(vocabulary.tokenizer, placeholder)
    return model


def _make_unit(
    params: InvertParams, dataset: PreparedDataset, seed: int, model, clip: Path, path: Path
) -> None:
    """Leave what one subset takes in the work folder; a killed run resumes where it stopped."""
    assert params.synthetic.shots is not None
    samples = dataset.train_samples(params.synthetic.shots, seed)
    checkpoint = path.with_suffix(".checkpoint")
    learned = loras = None
    if params.synthetic.prompts in LEARNED:
        learner = model.compiled() if params.invert.compile else model
        learned = _learn(params, dataset, samples, learner, clip, checkpoint)
    if params.synthetic.tuned is not None:
        loras = _tune(params, _lesson(dataset, samples, model), model, checkpoint)
    with whole_unit(path) as unit:
        if learned:
            _write_words(params, dataset, learned, model, unit)
        if loras:
            _write_loras(params, dataset.class_names, loras, model, unit)
        if params.synthetic.shots != "full":
            write_shard(
                unit / STARTS, (_start_image(sample, model.image_size) for sample in samples)
            )
        names = sorted(sample.record["name"] for sample in samples)
        write_json(unit / RECORD, {"learned_from": names, "seed": seed})
    for saved in path.parent.glob(f"{checkpoint.name}*"):
        saved.unlink(missing_ok=True)


def _learn(
    params: InvertParams,
    dataset: PreparedDataset,
    samples: Sequence[Sample],
    model,
    clip: Path,
    checkpoint: Path,
):
    """Learn the words that the set's prompts ask for."""
    from synthbridge.diffusion.class_tokens import invert_classes
    from synthbridge.diffusion.inversion import invert_style
    from synthbridge.diffusion.learning import Checkpoint
    from synthbridge.diffusion.oracle import invert_means

    names, labels = dataset.class_names, [sample.label for sample in samples]
    saved = Checkpoint(checkpoint)
    if params.synthetic.prompts == "oracle":
        projection, means = _read_with_clip(clip, model, samples, labels, names)
        return invert_means(model, params.invert, projection, means, names, saved)
    learn = {"dsi": invert_style, "class_tokens": invert_classes}[params.synthetic.prompts]
    return learn(model, params.invert, _lesson(dataset, samples, model), saved)


def _lesson(dataset: PreparedDataset, samples: Sequence[Sample], model) -> "Lesson":
    """Read the real images to learn from, of the size that the generator draws."""
    from synthbridge.diffusion.inversion import Lesson

    return Lesson(
        images=np.stack([read_square(sample, model.image_size) for sample in samples]),
        labels=[sample.label for sample in samples],
        class_names=dataset.class_names,
        flip=dataset.flip,
    )


def _tune(params: InvertParams, lesson: "Lesson", model, checkpoint: Path) -> "list[LearnedLora]":
    """Learn the LoRA of the data set, or one for each class."""
    from synthbridge.diffusion.learning import Checkpoint
    from synthbridge.diffusion.tuning import say_if_distilled, tune, tune_classes

    say_if_distilled(model)
    if params.synthetic.tuned == "dataset":
        return [tune(model, params.tune, lesson, Checkpoint(checkpoint))]
    names = [f"{checkpoint.name}-{label:04d}" for label in range(len(lesson.class_names))]
    saved = [Checkpoint(checkpoint.with_name(name)) for name in names]
    return tune_classes(model, params.tune, lesson, saved)


def _read_with_clip(
    folder: Path, model, samples: Sequence[Sample], labels: list[int], class_names: Sequence[str]
):
    """Return CLIP's projection of texts (P, D) and the mean of each class's images (C, P)."""
    from synthbridge.clip.embedding import load_clip
    from synthbridge.diffusion.oracle import check_tower, mean_directions

    clip = load_clip(folder, model.device)
    projection = clip.model.text_projection.weight.detach()
    check_tower(model, projection, class_names, clip.embed_texts(class_names))
    embedded = clip.embed_images(np.asarray(read_image(sample)) for sample in samples)
    return projection, mean_directions(embedded, labels, len(class_names))


def _write_words(
    params: InvertParams, dataset: PreparedDataset, learned, model, unit: Path
) -> None:
    """Write the words, their loss curve and a grid of samples."""
    from synthbridge.diffusion.prompts import learned_prompts, placeholders
    from synthbridge.diffusion.style_token import put_words, save_words

    kind, names = params.synthetic.prompts, dataset.class_names
    words = placeholders(kind, params.invert.placeholder, len(names))
    tokens = dict(zip(words, learned.vectors, strict=True))
    save_words(unit / STYLE, tokens, [vocabulary.width for vocabulary in model.vocabularies])
    _write_curve(unit / CURVE, learned.losses, learned.fixed_noise_losses)
    put_words(model, tokens)
    grid = _draw_samples(params, model, learned_prompts(kind, names, words))
    (unit / SAMPLES).write_bytes(encode_png(grid))


def _write_loras(
    params: InvertParams,
    class_names: Sequence[str],
    learned: "Sequence[LearnedLora]",
    model,
    unit: Path,
) -> None:
    """Write the LoRA of the data set, or each class's, the loss curve and a grid of samples.

    The curve of several is their mean, step by step.
    """
    from synthbridge.diffusion.lora import file_name, fused, save_lora
    from synthbridge.diffusion.tuning import caption

    prompts, rows = [caption(name) for name in class_names], []
    of_class = params.synthetic.tuned == "class"
    for label, each in enumerate(learned):
        save_lora(unit / file_name(label if of_class else None), model.denoiser, each.lora)
        with fused(model.denoiser, each.lora):
            own = [prompts[label]] if of_class else prompts
            rows.append(_draw_samples(params, model, own, first_class=label))
    losses = np.mean([each.losses for each in learned], axis=0).tolist()
    readings = [each.fixed_noise_losses for each in learned]
    means = {step: float(np.mean([each[step] for each in readings])) for step in readings[0]}
    _write_curve(unit / CURVE, losses, means)
    (unit / SAMPLES).write_bytes(encode_png(np.concatenate(rows)))


def _draw_samples(
    params: InvertParams, model, prompts: Sequence[str], first_class: int = 0
) -> np.ndarray:
    """Draw the prompts of classes, from `first_class` on: (H, W, 3) uint8, a class a row."""
    from synthbridge.diffusion.prompts import image_seed
    from synthbridge.diffusion.sampling import sample_images

    classes, columns = range(len(prompts)), range(params.invert.samples_per_class)
    batches = sample_images(
        model,
        [prompt for prompt in prompts for _ in columns],
        [image_seed(params.generate.seed, first_class + c, i) for c in classes for i in columns],
        sampler=params.generate.sampler,
        num_steps=params.generate.num_steps,
        guidance_scale=params.synthetic.guidance_scale,
        guided_fraction=params.generate.guided_fraction,
        batch_size=SAMPLES_AT_ONCE,
    )
    drawn = np.concatenate(list(batches))  # (classes * columns, H, W, 3)
    rows = np.split(drawn, len(prompts))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def _write_curve(path: Path, losses: list[float], fixed_noise: dict[int, float]) -> None:
    """Write the loss of every step, and beside it the readings at fixed noise."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", "loss", "fixed_noise_loss"])
        for step in range(len(losses) + 1):
            loss = f"{losses[step - 1]:.6f}" if step else ""
            reading = f"{fixed_noise[step]:.6f}" if step in fixed_noise else ""
            rows.writerow([step, loss, reading])


def _start_image(sample: Sample, size: int) -> dict[str, Any]:
    """Return a real image as `write_shard` takes it, for images to start from."""
    return {
        "__key__": sample.key,
        "png": encode_png(read_square(sample, size)),
        "cls": sample.label,
        "json": {"name": sample.record["name"]},
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="invert", description=__doc__)
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--generator", "--clip", "--out"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    params = InvertParams(
        invert=sections.read(InversionSettings, "invert"),
        tune=sections.read(TuneSettings, "tune"),
        generate=sections.read(SamplingSettings, "generate"),
        synthetic=sections.read(SyntheticSettings, f"synthetic.{args.set}"),
        seeds=sections.read(list[int], "seeds"),
    )
    invert(params, real=args.real, generator=args.generator, clip=args.clip, out=args.out)
