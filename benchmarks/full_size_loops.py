"""The loops that the stages call, at full size, timed in turns with a matrix product."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import counting
import measure
import numpy as np
import torch
from full_size_scale import Scale
from full_size_stages import (
    CLASS_NAMES,
    RATE,
    guidance_of,
    inversion_settings,
    sampling_settings,
    training_settings,
)
from released import FAMILIES
from scales import Product

from synthbridge.data.real import read_dataset
from synthbridge.data.shards import read_square
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.inversion import Lesson, invert_style
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import draw_prompt, image_seed
from synthbridge.diffusion.sampling import check_images, sample_images
from synthbridge.prompts.templates import template_prompts

NUM_TRAINING_IMAGES = 512  # in memory, as the stages keep them


def time_in_turns(
    run: Callable[[], Any], scale: Scale, operations: float, num_images: int
) -> dict[str, Any]:
    """Time `run` and a matrix product in turns.

    Args:
        run: the loop.
        scale: rounds, and the product's size and precision.
        operations: of the whole loop.
        num_images: that the loop draws or learns from.
    """
    product = Product(scale.matrix_size, scale.num_products)
    seconds = measure.take_turns(
        {"product": product.prepare(getattr(torch, scale.dtype)), "loop": run},
        rounds=scale.num_rounds,
        num_warm_ups=scale.num_warm_ups,
        clock=time.perf_counter if torch.cuda.is_available() else time.process_time,
    )
    return {
        "dtype": scale.dtype,
        "seconds": round(seconds["loop"], 2),
        "images_per_second": num_images / seconds["loop"],
        "tera_operations": round(operations / 1e12, 2),
        "tera_operations_per_second": operations / 1e12 / seconds["loop"],
        "matrix_tera_per_second": product.operations / 1e12 / seconds["product"],
    }


def _load(folder: Path, dtype: str) -> Generator:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_generator(folder / "generator").to(device, getattr(torch, dtype))


def time_inversion(folder: Path, scale: Scale, batch: int, name: str) -> dict[str, Any]:
    """Time `invert_style`: the images' encoding, all steps, and the readings of the loss."""
    model, dataset = _load(folder, scale.dtype), read_dataset(folder / "real")
    samples = dataset.train_samples(1, 0)
    images = np.stack([read_square(sample, model.image_size) for sample in samples])
    labels = [sample.label for sample in samples]
    lesson = Lesson(images, labels, dataset.class_names, flip=False)
    settings = inversion_settings(scale, batch)

    def run() -> None:
        learned = invert_style(model, settings, lesson)
        assert np.isfinite(learned.losses).all()
        assert learned.vectors.isfinite().all()

    operations = counting.operations_of_inversion(len(images), scale.inversion_steps, batch, name)
    return time_in_turns(run, scale, operations, scale.inversion_steps * batch)


def time_generation(folder: Path, scale: Scale, batch: int, name: str) -> dict[str, Any]:
    """Time `sample_images`: one batch from its prompts to its pixels."""
    model = _load(folder, scale.dtype)
    seeds = [image_seed(0, 0, index) for index in range(batch)]
    prompts = [
        draw_prompt(template_prompts(CLASS_NAMES[index % 2]), seed)
        for index, seed in enumerate(seeds)
    ]
    settings = sampling_settings(scale, FAMILIES[name])

    def run() -> None:
        drawn = sample_images(
            model,
            prompts,
            seeds,
            sampler=settings.sampler,
            num_steps=settings.num_steps,
            guidance_scale=guidance_of(FAMILIES[name]),
            batch_size=batch,
        )
        for images in drawn:
            check_images(images, prompts)

    count, rows = counting.operations_of(name), FAMILIES[name].rows_per_step
    image = rows * settings.num_steps * count["denoiser"] + count["decode"]
    return time_in_turns(run, scale, batch * image, batch)


def operations_of_stage(part: str, scale: Scale, name: str, size: int) -> float:
    """Count the operations of a stage on the small data set, but for its prompts."""
    count, family = counting.operations_of(name, size), FAMILIES[name]
    steps = family.rows_per_step * sampling_settings(scale, family).num_steps
    drawn = len(CLASS_NAMES) * (steps * count["denoiser"] + count["decode"])
    if part == "generate":
        return scale.images_per_class * drawn
    job = (len(CLASS_NAMES), scale.inversion_steps, scale.inversion_batch)
    return drawn + counting.operations_of_inversion(*job, name, size)  # and a sample of each class


def measure_product(scale: Scale, dtype: str) -> dict[str, float]:
    """Measure the rate of a matrix product alone."""
    product = Product(scale.matrix_size, scale.num_products)
    seconds = measure.take_turns(
        {"product": product.prepare(getattr(torch, dtype))},
        rounds=3,
        clock=time.perf_counter if torch.cuda.is_available() else time.process_time,
    )
    return {"matrix_tera_per_second": product.operations / 1e12 / seconds["product"]}


def random_images(num_images: int, size: int, num_classes: int, device: torch.device) -> Any:
    """Return an ImageSet of noise, in memory as the stages keep theirs, class after class."""
    from synthbridge.training.images import ImageSet

    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (num_images, 3, size, size), dtype=torch.uint8, generator=draws)
    labels = torch.arange(num_images) % num_classes
    return ImageSet(pixels.to(device), labels.to(device))


def time_training(folder: Path, scale: Scale, batch: int, name: str) -> dict[str, Any]:
    """Time `train` with its loader, on images in memory: weights in float32, autocast on a GPU."""
    from synthbridge.core.processes import start_accelerator
    from synthbridge.training.classifier import load_backbone
    from synthbridge.training.loop import Leg, train
    from synthbridge.training.recipe import make_recipe
    from synthbridge.training.team import Team

    settings = training_settings(batch)
    recipe = make_recipe(settings, folder / name, flip=False)
    model = load_backbone(folder / name, num_classes=len(CLASS_NAMES), seed=0)
    with start_accelerator() as accelerator:
        team = Team(accelerator, rank=0, size=1)
        images = random_images(
            NUM_TRAINING_IMAGES, settings.resize_size, len(CLASS_NAMES), team.device
        )

        def run() -> None:
            leg = Leg(num_steps=scale.training_steps, learning_rate=RATE, seed=0)
            curve = train(model, images, recipe, leg, team)
            assert np.isfinite(curve.train_loss).all()

        num_images = scale.training_steps * batch
        operations = num_images * counting.operations_of_a_training_image(name)
        return time_in_turns(run, scale, operations, num_images)
