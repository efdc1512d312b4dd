"""The speeds of a generator on this machine: drawing, and learning words."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from synthbridge.data.shards import encode_jpeg, write_shard
from synthbridge.diffusion.inversion import Lesson, invert_style
from synthbridge.diffusion.latents import cache_latents
from synthbridge.diffusion.loading import TextToImage, load_text_to_image
from synthbridge.diffusion.sampling import sample_images
from synthbridge.forecast.stopwatch import least_seconds, seconds_of_code, seconds_of_one
from synthbridge.params import Params

NUM_CLASSES = 10
# What a stage that draws does before it draws, in a process that has done nothing yet.
LOADING = """
from pathlib import Path; import torch
from synthbridge.diffusion import sampling
from synthbridge.diffusion.loading import load_text_to_image
from synthbridge.stages import generate
from synthbridge.core import processes
load_text_to_image(Path({folder!r})).to_fastest(torch.device({device!r}))
"""


def measure_generator(params: Params, folder: Path, device: torch.device) -> dict[str, float]:
    """Measure the generator in `folder`.

    Returns:
        Seconds of each of `speeds.GENERATOR_KINDS`.
    """
    model = load_text_to_image(folder).to_fastest(device)
    count = 64 if model.image_size < 256 else 16
    prompts = [f"A photo of a thing {index}" for index in range(count)]
    seeds = list(range(count))

    def draw(num_steps: int) -> np.ndarray:
        batches = sample_images(
            model, prompts, seeds, sampler=params.generate.sampler, num_steps=num_steps,
            guidance_scale=2.0, batch_size=count,
        )  # fmt: skip
        return np.concatenate(list(batches))

    step, decoding = seconds_of_one(draw, 3, 9)
    images = draw(3)
    # Threads write while a GPU draws; on the CPU they take the time of the same cores.
    written = _seconds_of_writing(images, params) if device.type == "cpu" else 0.0
    loading = LOADING.format(folder=str(folder), device=str(device))
    return {
        "load_generator": seconds_of_code(loading),
        "denoised_row": step / (2 * count),  # two rows an image with guidance
        "drawn_image": (decoding + written) / count,
        **_measure_inversion(params, model, images),
    }


def _seconds_of_writing(images: np.ndarray, params: Params) -> float:
    def write() -> None:
        with tempfile.TemporaryDirectory() as name:
            samples = (
                {
                    "__key__": f"{index:05d}",
                    "jpg": encode_jpeg(image, params.generate.jpeg_quality),
                    "cls": 0,
                    "json": {"prompt": "A photo of a thing"},
                }
                for index, image in enumerate(images)
            )
            write_shard(Path(name) / "shard.tar", samples)

    return least_seconds(write)


def _measure_inversion(params: Params, model: TextToImage, images: np.ndarray) -> dict[str, float]:
    lesson = Lesson(
        images=images,
        labels=[index % NUM_CLASSES for index in range(len(images))],
        class_names=[f"thing {index}" for index in range(NUM_CLASSES)],
        flip=False,
    )
    batch = min(params.invert.batch_size, len(images))

    def learn(num_steps: int) -> object:
        changes = {"num_steps": num_steps, "batch_size": batch}
        settings = params.invert.model_copy(update=changes)
        return invert_style(model, settings, lesson)

    step, _ = seconds_of_one(learn, 20, 40)  # both read the loss at fixed noise eleven times
    encoded = least_seconds(lambda: cache_latents(model, images, flip=False))
    return {"encoded_image": encoded / len(images), "inverted_row": step / batch}
