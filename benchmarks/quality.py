"""Quality: what each shortcut of generation costs, beside what it saves.

    python benchmarks/quality.py             needs what `dvc repro` makes of the default

Every arm draws the same 600 digits (prompts with one style token learned from four shots, guidance
1.5) three times, each time from other noise, and the arms take turns. The full setting is 50 steps
of DDPM, all guided. Measured, mean and sample standard deviation over the three:

    FID, KID     in CLIP's image space (embeddings scaled to a mean square of 1), to 600 images
                 that the full setting drew from noise of their own: what the full setting itself
                 shows there is the floor
    KID to real  the same, to the real training images
    accuracy     of a stage-one model (the default's) trained on the 600 images, on the real
                 training and validation images, which it has not seen; never on test images
    difference   of that accuracy to the full setting's with the same noise and seed
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from accelerate import Accelerator
from judging import DATA, REAL, Judge, differences, spread

from synthbridge.clip.embedding import Clip, load_clip
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import encode_jpeg, index_shards, read_image, write_shard
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import image_seed, style_prompt
from synthbridge.diffusion.sampling import sample_images
from synthbridge.diffusion.style_token import load_words, put_words
from synthbridge.evidence.gap import frechet_distance, kernel_distance
from synthbridge.params import read_params
from synthbridge.training.team import Team

STYLE = DATA / "styles/digits/dsi_4/s0.safetensors"
PER_CLASS, BATCH, SEEDS, OTHER_NOISE = 60, 100, (0, 1, 2), 1000
GUIDANCE = 1.5


@dataclass(frozen=True)
class Arm:
    """One way to draw."""

    what: str
    sampler: str = "ddpm"
    num_steps: int = 50
    guided_fraction: float = 1.0
    quality: int = 95  # of the JPEGs
    every: int = 1  # steps between two that compute the UNet's deeper blocks anew


ARMS = {
    "full": Arm("50 steps of DDPM, all guided"),
    "guided_60": Arm("guidance on the first 60 % of the steps", guided_fraction=0.6),
    "guided_30": Arm("guidance on the first 30 % of the steps", guided_fraction=0.3),
    "guided_0": Arm("no guidance", guided_fraction=0.0),
    "ddpm_20": Arm("20 steps of DDPM", num_steps=20),
    "dpm_20": Arm("20 steps of DPM-Solver++", "dpm++", 20),
    "dpm_15": Arm("15 steps of DPM-Solver++", "dpm++", 15),
    "dpm_8": Arm("8 steps of DPM-Solver++", "dpm++", 8),
    "fast": Arm("20 steps of DPM-Solver++, the first 12 guided", "dpm++", 20, 0.6),
    "cached_2": Arm("deeper blocks computed at every second step", every=2),
    "cached_5": Arm("deeper blocks computed at every fifth step", every=5),
    "jpeg_75": Arm("JPEG quality 75 instead of 95", quality=75),
}


def clock() -> float:
    """Return seconds; without a GPU the process's own, which leave out what others do."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def reuse_deep_blocks(model: Generator, every: int, num_steps: int) -> Iterator[None]:
    """Compute all of the UNet but its outermost blocks at every so many steps, and reuse it.

    The idea of DeepCache (arXiv:2312.00858): deep features change slowly over the steps.
    """
    unet: Any = model.denoiser
    blocks = [*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]]

    def cached(forward: Any) -> Any:
        calls, kept = 0, None

        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls, kept
            if calls % num_steps % every == 0:  # each batch begins anew
                kept = forward(*args, **kwargs)
            calls += 1
            return kept

        return run

    for block in blocks:
        block.forward = cached(block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class Bench:
    """The models, the real images, and what is measured of an arm's images."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.drawn: dict[tuple[Arm, int], tuple[list, float]] = {}
        self.team = Team(Accelerator(cpu=not torch.cuda.is_available()), rank=0, size=1)
        self.model = load_generator(DATA / "upstream/generator").to_fastest(self.team.device)
        words = load_words(STYLE)
        put_words(self.model, words)
        [self.placeholder] = words
        self.clip: Clip = load_clip(DATA / "upstream/clip", self.team.device)
        self.dataset = read_dataset(REAL)
        self.real_features = self.features(self.dataset.samples("train"))
        self.judge = Judge(read_params(), self.dataset, self.team)

    def draw(self, arm: Arm, run_seed: int) -> tuple[list, float]:
        """Draw an arm's images into a shard; return its samples and the seconds an image."""
        names = self.dataset.class_names
        labels = [label for label in range(len(names)) for _ in range(PER_CLASS)]
        seeds = [image_seed(run_seed, label, i % PER_CLASS) for i, label in enumerate(labels)]
        prompts = [style_prompt(names[label], self.placeholder) for label in labels]
        key = replace(arm, what="", quality=0), run_seed
        if key not in self.drawn:  # the same images, encoded otherwise
            self.drawn[key] = self._time(arm, prompts, seeds)
        images, seconds = self.drawn[key]
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        samples = (
            {
                "__key__": f"{i:06d}",
                "jpg": encode_jpeg(image, arm.quality),
                "cls": label,
                "json": {"seed": seed},
            }
            for i, (image, label, seed) in enumerate(zip(images, labels, seeds, strict=True))
        )
        write_shard(folder / "all-00000.tar", samples)
        return index_shards(folder), seconds

    def _time(self, arm: Arm, prompts: list[str], seeds: list[int]) -> tuple[list, float]:
        """Draw images; return them and the seconds each."""
        start = clock()
        cache = reuse_deep_blocks(self.model, arm.every, arm.num_steps)
        with cache if arm.every > 1 else nullcontext():
            batches = sample_images(
                self.model,
                prompts,
                seeds,
                sampler=arm.sampler,  # pyright: ignore
                num_steps=arm.num_steps,
                guidance_scale=GUIDANCE,
                guided_fraction=arm.guided_fraction,
                batch_size=BATCH,
            )
            images = [image for batch in batches for image in batch]
        return images, (clock() - start) / len(images)

    def features(self, samples: list) -> np.ndarray:
        """Embed images: (N, D), of mean square 1."""
        vectors = self.clip.embed_images(np.asarray(read_image(sample)) for sample in samples)
        return vectors * vectors.shape[1] ** 0.5


def distances(reference: np.ndarray, features: np.ndarray) -> tuple[float, float]:
    """Return FID and KID."""
    kid, _ = kernel_distance(reference, features, subset_size=300, num_subsets=20, seed=0)
    return frechet_distance(reference, features), kid


def measure_arms(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Draw and judge every arm with every seed, in turns: the figures of each, a seed each."""
    reference = bench.features(bench.draw(ARMS["full"], OTHER_NOISE)[0])  # warms up, too
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in ARMS}
    for seed in SEEDS:
        for name, arm in ARMS.items():
            samples, seconds = bench.draw(arm, seed)
            features = bench.features(samples)
            fid, kid = distances(reference, features)
            found = {
                "seconds": seconds,
                "fid": fid,
                "kid": kid,
                "kid_to_real": distances(bench.real_features, features)[1],
                "accuracy": bench.judge.accuracy(samples, seed),
            }
            for key, value in found.items():
                figures[name].setdefault(key, []).append(value)
            print(f"  seed {seed}, {name}: {seconds * 1000:.1f} ms an image", flush=True)
    full = figures["full"]["accuracy"]
    for values in figures.values():
        values["difference"] = differences(values["accuracy"], full)
    return figures


def main() -> None:
    """Measure, print a table and save."""
    measure.read_arguments(__doc__)
    with tempfile.TemporaryDirectory() as name:
        figures = measure_arms(Bench(Path(name)))
    full = statistics.median(figures["full"]["seconds"])
    rows = {}
    for name, values in figures.items():
        seconds = statistics.median(values.pop("seconds"))
        rows[name] = {
            "what": ARMS[name].what,
            "ratio": full / seconds,
            "wanted": None,
            "seconds_an_image": seconds,
        }
        for key, found in values.items():
            rows[name][key] = spread(found)
    measure.save_ratios("quality", rows)
    print_table(rows)


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print the figures as a Markdown table."""
    columns = {"fid": 2, "kid": 4, "kid_to_real": 3, "accuracy": 1, "difference": 1}  # digits
    print(f"\n| arm | ms an image | speed | {' | '.join(columns)} |")
    print("|---" * (3 + len(columns)) + "|")
    for row in rows.values():
        cells = [
            f"{row[key]['mean']:.{digits}f} ± {row[key]['spread']:.{digits}f}"
            for key, digits in columns.items()
        ]
        head = f"{row['what']} | {1000 * row['seconds_an_image']:.1f} | {row['ratio']:.2f}"
        print(f"| {head} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
