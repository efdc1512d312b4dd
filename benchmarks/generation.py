"""Generation: ours beside diffusers' own pipeline and beside the usual script.

    python benchmarks/generation.py                   on a CPU: run `dvc repro upstream` first
    python benchmarks/generation.py --family sdxl     or sd-3.5-medium: needs nothing made

G1  our loop / diffusers' own pipeline: same weights, prompts, seeds, sampler, steps,
    guidance, batch, dtype, channels last, SDPA; no safety checker, no progress bar; latents
    compared first, in float32. G1c: the same with our denoiser compiled as `generate.compile` does,
    what compiling takes aside. G1b: with what it does not do, a UNet's repeated blocks alone or a
    whole transformer. For the seconds that compiling takes, start with an empty cache
    (TORCHINDUCTOR_CACHE_DIR=$(mktemp -d)), in which the second way finds some of the first's work.
G2  our loop / the limit: the UNet's and VAE's operations at the rate of a matrix product that is
    timed in the same run.
G3  prompts to a finished tar, ours / the usual script: ten images a call, prompts encoded at each
    call, PNG written before the next call.
G4  prompts to a finished tar / denoising and decoding alone.
G5  the fast setting (20 steps of DPM-Solver++, the first 12 of them guided) / 50 steps of DDPM, all
    guided: the paper's setting.
G6  one step an image, as few-step models draw: a batch decoded while the next one is denoised / one
    after the other. On a CPU in seconds of the processor, since each core has its process.

Miniature, a CPU's scale: 200 images of 16 x 16, batch 100, 15 steps of DPM-Solver++ but in G5,
guidance 1.5, float32. Full, a GPU's: Stable Diffusion 1.5 with random weights, 64 images of 512 x
512, batch 32 (as `generate` takes them), 20 steps, guidance 3.5, bfloat16; our text encoder stays
in float32, the pipeline's is in bfloat16 too, where it also draws its noise. It needs 25 GB of GPU
memory and 5 GB of disk. A turn is 18 peta-operations, 46 s at half of an H200's matrix rate: four
turns, a minute to compile, and a minute to write and load the models.

Of another family: 40 images of 64 x 64 by a thin model on a CPU, 16 of the released size on a GPU,
by Euler's steps where it predicts the flow; G5 where it takes DDPM's.
"""

import copy
import io
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import diffusers
import measure
import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from generation_scale import FULL, MINIATURE, TRIAL, Scale, of_family
from scales import DEVICE, choose, choose_family, open_world
from small_families import SMALL
from torch.utils.flop_counter import FlopCounterMode

from synthbridge.core.files import read_json
from synthbridge.data.shard_writing import write_units
from synthbridge.data.synthetic import ALL, PlannedShard
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import draw_prompt, image_seed
from synthbridge.diffusion.sampling import (
    check_images,
    decode,
    denoise,
    encode_prompts,
    sample_images,
)
from synthbridge.prompts.templates import template_prompts
from synthbridge.upstream.pool import CLASS_NAMES


def load_pipeline(folder: Path) -> Any:
    """Load diffusers' pipeline, channels last as ours is: float32, CPU.

    With its DPM-Solver++, or its Euler steps where the generator predicts the flow. Any: its own
    annotations lack what it takes and returns.
    """
    name = read_json(folder / "model_index.json")["_class_name"]
    without = {"safety_checker": None} if name == "StableDiffusionPipeline" else {}
    pipeline: Any = getattr(diffusers, name).from_pretrained(folder, **without)
    if hasattr(pipeline, "unet"):
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for part in (denoiser_of(pipeline), pipeline.vae):
        part.to(memory_format=torch.channels_last)
    return pipeline


def denoiser_of(pipeline: Any) -> Any:
    """Return a pipeline's UNet or transformer."""
    return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer


class Job:
    """The images to draw, and every way of drawing them: the arms."""

    def __init__(self, scale: Scale, model: Generator, pipeline: Any):
        """Draw a prompt and a seed for each image, class after class."""
        self.scale, self.model, self.pipeline = scale, model, pipeline
        count = scale.num_images
        self.seeds = [image_seed(0, 0, index) for index in range(count)]
        self.prompts = [
            draw_prompt(template_prompts(CLASS_NAMES[index * len(CLASS_NAMES) // count]), seed)
            for index, seed in enumerate(self.seeds)
        ]

    @property
    def has_fast(self) -> bool:
        """Whether there is a paper's setting to be faster than."""
        return "ddpm" in self.model.samplers

    @cached_property
    def compiled(self) -> Generator:
        """The same weights, compiled when they first draw."""
        return self.model.compiled()

    @cached_property
    def compiled_otherwise(self) -> Generator:
        """The same, by blocks where `compiled` takes the whole denoiser, or as a whole."""
        other = copy.copy(self.model)
        other.repeated_blocks = (
            () if other.repeated_blocks else tuple(other.denoiser._repeated_blocks)
        )
        return other.compiled()

    def draw(self, arm: str = "ours", model: Generator | None = None) -> list[np.ndarray]:
        """Denoise and decode all images, batch by batch."""
        setting, batch = self.scale.setting(arm, self.model), self.scale.batch
        model = model or self.model
        return list(sample_images(model, self.prompts, self.seeds, **setting, batch_size=batch))

    def draw_with_pipeline(self) -> None:
        """Denoise and decode all images with diffusers, at our batch."""
        for chosen in self._parts(self.scale.batch):
            self._call_pipeline(chosen, "np")

    def write_tar(self, folder: Path) -> None:
        """Draw all images into a shard, and let `generate` write it: ours/shard.tar."""
        shard = PlannedShard(ALL, 0, class_indices=(0,), start=0, stop=self.scale.num_images)
        batches = sample_images(
            self.model,
            self.prompts,
            self.seeds,
            **self.scale.setting("ours", self.model),
            batch_size=self.scale.batch,
        )
        shutil.rmtree(folder / "ours", ignore_errors=True)  # of the turn before
        images = enumerate(chain.from_iterable(batches))
        write_units({shard: folder / "ours"}, images, self._describe, jpeg_quality=95)

    def _describe(self, _: PlannedShard, index: int) -> dict[str, Any]:
        return {"__key__": f"{index:06d}", "cls": 0, "json": {"seed": self.seeds[index]}}

    def run_the_usual_script(self, folder: Path) -> None:
        """Draw all images into a tar of PNGs, a small call at a time."""
        with tarfile.open(folder / "usual.tar", "w") as tar:
            for chosen in self._parts(self.scale.batch_of_the_script):
                for index, image in zip(chosen, self._call_pipeline(chosen, "pil"), strict=True):
                    file = io.BytesIO()
                    image.save(file, "PNG")
                    member = tarfile.TarInfo(f"{index:06d}.png")
                    member.size = file.tell()
                    file.seek(0)
                    tar.addfile(member, file)

    def _parts(self, size: int) -> list[range]:
        count = self.scale.num_images
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def _call_pipeline(self, chosen: range, output_type: str) -> Sequence:
        """Draw the images `chosen` in one call of the pipeline, each from its own seed."""
        return self.pipeline(
            [self.prompts[index] for index in chosen],
            generator=[torch.Generator().manual_seed(self.seeds[index]) for index in chosen],
            num_inference_steps=self.scale.num_steps,
            guidance_scale=self.scale.setting("ours", self.model)["guidance_scale"],
            output_type=output_type,
        ).images

    def draw_few(self, *, beside: bool) -> None:
        """Draw all images in one step each; decode a batch beside the next one, or before it."""
        with ThreadPoolExecutor(1) as thread:
            waiting = None
            for chosen in self._parts(self.scale.batch):
                latents = self.denoise(chosen, "few")
                _wait(waiting)
                waiting = thread.submit(self._decode, latents, _mark())
                if not beside:
                    _wait(waiting)
            _wait(waiting)

    def _decode(self, latents: torch.Tensor, is_there: torch.cuda.Event | None) -> np.ndarray:
        """Decode one batch, on a GPU in a stream of this thread's own."""
        if is_there is None:
            return decode(self.model, latents).numpy()
        with torch.cuda.stream(torch.cuda.Stream()):
            is_there.wait()
            return decode(self.model, latents).cpu().numpy()

    def denoise(self, chosen: range, arm: str = "ours") -> torch.Tensor:
        """Denoise the images `chosen` in one batch of our loop: (B, C, h, w)."""
        setting = self.scale.setting(arm, self.model)
        steps = self.model.steps(setting["sampler"], setting["num_steps"])
        text = encode_prompts(self.model, ["", *(self.prompts[index] for index in chosen)])
        return denoise(
            self.model,
            text,
            torch.arange(1, len(chosen) + 1),
            [self.seeds[index] for index in chosen],
            steps=steps,
            guidance_scale=setting["guidance_scale"],
        )

    def compare(self) -> float:
        """Return the largest difference of a latent between our loop and diffusers'.

        It may be a ten-thousandth of a latent's standard deviation: of 1, or of more where the
        weights are random.
        """
        chosen = range(0, self.scale.num_images, self.scale.num_images // self.scale.num_compared)
        expected = self._call_pipeline(chosen, "latent")
        assert isinstance(expected, torch.Tensor)
        difference = float((self.denoise(chosen) - expected).abs().max())
        limit = 1e-4 * max(1.0, float(expected.std()))
        assert difference < limit, f"our latents differ from diffusers' by {difference}"
        return difference

    def compile(self, *, otherwise: bool = False) -> float:
        """Draw all images with a compiled denoiser for the first time; return the seconds.

        It compiles, or finds what torch's cache has of another run.
        """
        start = time.perf_counter()
        self.draw(model=self.compiled_otherwise if otherwise else self.compiled)
        return time.perf_counter() - start

    def compare_compiled(self) -> dict[str, float]:
        """Return what compiling changes: the largest difference of a grey level, of 256, and how
        many of them differ.
        """
        plain = np.concatenate(self.draw()).astype(int)
        difference = np.abs(np.concatenate(self.draw(model=self.compiled)).astype(int) - plain)
        return {
            "largest_difference": float(difference.max()),
            "fraction_that_differs": float((difference > 0).mean()),
        }

    def check(self) -> None:
        """Refuse numbers that are none, in the dtype and at the samplers that are timed."""
        count = self.scale.num_compared
        for arm in ("ours", "full") if self.has_fast else ("ours",):
            drawn = sample_images(
                self.model,
                self.prompts[:count],
                self.seeds[:count],
                **self.scale.setting(arm, self.model),
                batch_size=count,
            )
            check_images(np.concatenate(list(drawn)), self.prompts[:count])

    def count_operations(self) -> float:
        """Count the floating-point operations of drawing all images, and of nothing else."""
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            decode(self.model, self.denoise(range(1)))
        return counter.get_total_flops() * self.scale.num_images

    def time_arms(self, folder: Path, rounds: int) -> dict[str, float]:
        """Return the median seconds of each arm and of the product."""
        arms: dict[str, Callable[[], Any]] = {
            "ours": self.draw,
            "compiled": lambda: self.draw(model=self.compiled),
            "otherwise": lambda: self.draw(model=self.compiled_otherwise),
            "pipeline": self.draw_with_pipeline,
            "tar": lambda: self.write_tar(folder),
            "usual": lambda: self.run_the_usual_script(folder),
            "product": self.scale.product.prepare(self.model.dtype),
        }
        if self.has_fast:
            arms |= {"fast": lambda: self.draw("fast"), "full": lambda: self.draw("full")}
        seconds = measure.take_turns(arms, rounds=rounds, num_warm_ups=self.scale.num_warm_ups)
        return seconds | self._time_few(rounds)

    def _time_few(self, rounds: int) -> dict[str, float]:
        """Return the median seconds of both ways to decode few-step images."""
        arms = {
            "beside": lambda: self.draw_few(beside=True),
            "after": lambda: self.draw_few(beside=False),
        }
        clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
        return measure.take_turns(arms, rounds=rounds, clock=clock)


def _mark() -> torch.cuda.Event | None:
    """Return what a GPU reaches when all work so far is done; None on a CPU, which waits itself."""
    if DEVICE.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record()
    return event


def _wait(work: Future | None) -> None:
    if work is not None:
        work.result()


def measure_all(scale: Scale, generator: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Compare, check and time: a row a ratio."""
    torch.backends.cudnn.allow_tf32 = False  # compared in float32; no arm convolves in it
    model = load_generator(generator).to(DEVICE)
    job = Job(scale, model, load_pipeline(generator).to(DEVICE))
    difference = job.compare()
    job.pipeline.to(DEVICE, model.to_fastest(DEVICE).dtype)
    job.check()
    first = {"compiled": job.compile(), "otherwise": job.compile(otherwise=True)}
    with tempfile.TemporaryDirectory() as folder:
        seconds = job.time_arms(Path(folder), rounds)
    compiled = job.compare_compiled() | {
        f"seconds_to_compile_{arm}": taken - seconds[arm] for arm, taken in first.items()
    }
    peak = scale.product.operations / seconds.pop("product")  # operations a second
    seconds["limit"] = job.count_operations() / peak
    rates = measure.per_second(scale.num_images, seconds)
    shared = {
        "images_per_second": rates,
        "largest_latent_difference": difference,
        "compiled": compiled,
    }
    ratios = {
        "G1": ("our loop / diffusers' pipeline", "ours", "pipeline"),
        "G1c": ("our loop, compiled / diffusers' pipeline", "compiled", "pipeline"),
        "G1b": ("our loop, compiled the other way / diffusers' pipeline", "otherwise", "pipeline"),
        "G2": ("our loop / the matrix rate's limit", "ours", "limit"),
        "G3": ("prompts to tar, ours / the usual script", "tar", "usual"),
        "G4": ("prompts to tar / denoising and decoding alone", "tar", "ours"),
        "G5": ("20 steps, 12 of them guided / 50 guided steps", "fast", "full"),
        "G6": ("one step: decoded beside the next batch / before it", "beside", "after"),
    }
    return {
        name: {"what": what, "ratio": seconds[base] / seconds[arm], "wanted": scale.wanted[name]}
        | shared
        for name, (what, arm, base) in ratios.items()
        if arm in seconds
    }


def main() -> None:
    """Measure, print and save."""
    args = measure.read_arguments(__doc__, has_scales=True, families=SMALL)
    scale = choose(args.scale, miniature=MINIATURE, full=FULL, trial=TRIAL)
    family = choose_family(args.family, args.scale)
    if args.family and family:
        scale = of_family(scale, family)
    with open_world(args.folder, family) as world:
        rows = measure_all(scale, world.generator, args.rounds or scale.num_rounds)
    measure.save_ratios(measure.result_name("generation", args.scale, args.family), rows)


if __name__ == "__main__":
    main()
