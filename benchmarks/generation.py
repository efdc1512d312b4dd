"""Generation: ours beside diffusers' own pipeline and beside the usual script.

    python benchmarks/generation.py          needs data/upstream: run `dvc repro upstream` first

G1  our loop / diffusers' StableDiffusionPipeline: same weights, prompts, noise, sampler, steps,
    guidance, batch, dtype; no safety checker, no progress bar; images compared first.
G2  our loop / the limit: the UNet's and VAE's operations at the rate of a matrix product that is
    timed in the same run.
G3  prompts to a finished tar, ours / the usual script: ten images a call, prompts encoded at each
    call, PNG written before the next call.
G4  prompts to a finished tar / denoising and decoding alone.
G5  the fast setting (20 steps of DPM-Solver++, the first 12 of them guided) / 50 steps of DDPM, all
    guided: the paper's setting.
"""

import io
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch.utils.flop_counter import FlopCounterMode

from synthbridge.data.shards import encode_jpeg, write_shard
from synthbridge.diffusion.loading import TextToImage, load_text_to_image
from synthbridge.diffusion.prompts import draw_prompt, image_seed, template_prompts
from synthbridge.diffusion.sampling import decode, denoise, encode_prompts, sample_images
from synthbridge.diffusion.schedule import make_steps
from synthbridge.upstream.pool import CLASS_NAMES

GENERATOR = Path("data/upstream/generator")
NUM_IMAGES, BATCH, STEPS, GUIDANCE = 200, 100, 15, 1.5
BATCH_OF_THE_SCRIPT = 10
SETTING = {"sampler": "dpm++", "num_steps": STEPS, "guidance_scale": GUIDANCE}
FAST = {**SETTING, "num_steps": 20, "guided_share": 0.6}
FULL = {**SETTING, "sampler": "ddpm", "num_steps": 50}

SEEDS = [image_seed(0, 0, index) for index in range(NUM_IMAGES)]
PROMPTS = [
    draw_prompt(template_prompts(CLASS_NAMES[index * len(CLASS_NAMES) // NUM_IMAGES]), seed)
    for index, seed in enumerate(SEEDS)
]


def load_pipeline() -> StableDiffusionPipeline:
    """Load diffusers' pipeline with its DPM-Solver++, channels last as ours are."""
    pipeline = StableDiffusionPipeline.from_pretrained(GENERATOR, safety_checker=None)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    return pipeline


def call_pipeline(
    pipeline: StableDiffusionPipeline, chosen: range, output_type: str = "pil"
) -> Sequence:
    """Draw the images `chosen` in one call of the pipeline, each from its own seed."""
    return pipeline(
        [PROMPTS[index] for index in chosen],
        generator=[torch.Generator().manual_seed(SEEDS[index]) for index in chosen],
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type=output_type,
    ).images


def largest_difference(model: TextToImage, pipeline: StableDiffusionPipeline) -> float:
    """Return the largest difference of a latent between our loop and diffusers'."""
    chosen = range(0, NUM_IMAGES, NUM_IMAGES // 20)
    expected = call_pipeline(pipeline, chosen, "latent")
    return float((denoise_with_ours(model, chosen) - expected).abs().max())


def denoise_with_ours(model: TextToImage, chosen: range) -> torch.Tensor:
    """Denoise the images `chosen` in one batch of our loop: (B, C, h, w)."""
    text = encode_prompts(model, ["", *(PROMPTS[index] for index in chosen)])
    return denoise(
        model, text, torch.arange(1, len(chosen) + 1), [SEEDS[index] for index in chosen],
        steps=make_steps("dpm++", STEPS, model.scheduler_config), guidance_scale=GUIDANCE,
    )  # fmt: skip


def draw(model: TextToImage, setting: dict[str, Any] = SETTING) -> list[np.ndarray]:
    """Denoise and decode all images."""
    return list(sample_images(model, PROMPTS, SEEDS, **setting, batch_size=BATCH))


def draw_with(pipeline: StableDiffusionPipeline) -> None:
    """Denoise and decode all images with diffusers, at our batch."""
    for start in range(0, NUM_IMAGES, BATCH):
        call_pipeline(pipeline, range(start, start + BATCH), "np")


def write_tar(model: TextToImage, folder: Path) -> None:
    """Draw all images into a shard as `generate` does: threads encode while the loop goes on."""
    with ThreadPoolExecutor() as encoders:
        batches = sample_images(model, PROMPTS, SEEDS, **SETTING, batch_size=BATCH)
        jpegs = [encoders.submit(encode_jpeg, image, 95) for batch in batches for image in batch]
        samples = (
            {"__key__": f"{index:06d}", "jpg": jpeg.result(), "cls": 0, "json": {"seed": seed}}
            for index, (jpeg, seed) in enumerate(zip(jpegs, SEEDS, strict=True))
        )
        write_shard(folder / "ours.tar", samples)


def run_the_usual_script(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Draw all images into a tar of PNGs, a small call at a time."""
    with tarfile.open(folder / "usual.tar", "w") as tar:
        for start in range(0, NUM_IMAGES, BATCH_OF_THE_SCRIPT):
            chosen = range(start, start + BATCH_OF_THE_SCRIPT)
            for index, image in zip(chosen, call_pipeline(pipeline, chosen), strict=True):
                file = io.BytesIO()
                image.save(file, "PNG")
                member = tarfile.TarInfo(f"{index:06d}.png")
                member.size = file.tell()
                file.seek(0)
                tar.addfile(member, file)


def count_operations(model: TextToImage) -> float:
    """Count the floating-point operations of drawing all images, and of nothing else."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        decode(model, denoise_with_ours(model, range(1)))
    return counter.get_total_flops() * NUM_IMAGES


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    model, pipeline = load_text_to_image(GENERATOR), load_pipeline()
    difference = largest_difference(model, pipeline)
    assert difference < 1e-4, f"our latents differ from diffusers' by {difference}"
    matrix = torch.randn(1024, 1024)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure.take_turns(
            {
                "ours": lambda: draw(model),
                "pipeline": lambda: draw_with(pipeline),
                "tar": lambda: write_tar(model, Path(folder)),
                "usual": lambda: run_the_usual_script(pipeline, Path(folder)),
                "fast": lambda: draw(model, FAST),
                "full": lambda: draw(model, FULL),
                "product": lambda: [matrix @ matrix for _ in range(50)],
            },
            rounds=rounds,
        )
    peak = 50 * 2 * 1024**3 / seconds["product"]  # operations a second
    limit = count_operations(model) / peak
    rates = {name: round(NUM_IMAGES / seconds[name], 1) for name in seconds if name != "product"}
    rates["limit"] = round(NUM_IMAGES / limit, 1)
    shared = {"images_per_second": rates, "largest_latent_difference": difference}
    ratios = {
        "G1": ("our loop / diffusers' pipeline", "ours", "pipeline", 1.05),
        "G2": ("our loop / the matrix rate's limit", "ours", "limit", None),
        "G3": ("prompts to tar, ours / the usual script", "tar", "usual", 1.5),
        "G4": ("prompts to tar / denoising and decoding alone", "tar", "ours", 0.95),
        "G5": ("20 steps, 12 of them guided / 50 guided steps", "fast", "full", 2.5),
    }
    rows = {
        name: {"what": what, "ratio": rates[arm] / rates[base], "wanted": wanted, **shared}
        for name, (what, arm, base, wanted) in ratios.items()
    }
    measure.save_ratios("generation", rows)


if __name__ == "__main__":
    main()
