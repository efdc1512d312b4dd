"""Dataset style inversion: ours beside the recipe of diffusers' textual-inversion example.

    python benchmarks/inversion.py                  a CPU: run `dvc repro prepare upstream` first
    python benchmarks/inversion.py --family sdxl    needs nothing made

D1  a step of ours / a step of that recipe: same weights, images, classes, batch, dtype, both eager
    and with SDPA. The recipe encodes each batch with the VAE, optimises the whole embedding table
    with AdamW and puts every other row back after each step, and reads the loss at each step
    (examples/textual_inversion/textual_inversion.py of diffusers). In bfloat16 its text encoder
    runs under autocast, as there; ours stays in float32.
D1c the same with our UNet compiled, what compiling takes aside.
D2  ours / the limit: the operations of encoding, steps and readings of the loss at the rate of a
    matrix product that is timed in the same run. At full size only.

Miniature, a CPU's scale: 100 steps at batch 32, float32. Full, a GPU's: Stable Diffusion 1.5 with
random weights, two images of 512 x 512, 100 steps at batch 16, UNet and VAE in bfloat16. It needs
30 GB of GPU memory and 5 GB of disk. A turn is 10.1 peta-operations, 26 s at half of an H200's
matrix rate: four turns, two minutes to compile, and a minute to write and load the models.

Of another family, in which a word can be learned: on a CPU a thin model of 64 x 64 pixels, 20 steps
at batch 8; on a GPU the released one, 100 steps at batch 4.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import counting
import measure
import numpy as np
import torch
from released import FAMILIES
from scales import DEVICE, Product, World, choose, choose_family, open_world
from small_families import SMALL
from torch.nn.functional import mse_loss

from synthbridge.data.real import read_dataset
from synthbridge.data.shards import read_square
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.inversion import Lesson, initial_vector, invert_style
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.schedule import training_levels, training_target
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import put_words
from synthbridge.diffusion.text import word_table

STEPS, BATCH, RATE, SHOTS = 100, 32, 5e-3, 4
PLACEHOLDER, INITIAL_WORD = "<style>", "style"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is learned from, how often it is timed, and what is wanted."""

    num_steps: int
    batch: int
    shots: int  # images a class
    product: Product | None = None  # None: no limit, as on the miniature
    num_warm_ups: int = 1
    num_rounds: int = 3
    wanted: float | None = None  # of D1
    wanted_compiled: float | None = None  # of D1c
    wanted_of_limit: float | None = None  # of D2


MINIATURE = Scale(num_steps=STEPS, batch=BATCH, shots=SHOTS, num_rounds=5, wanted=1.15)
FULL = Scale(
    num_steps=100,
    batch=16,
    shots=1,
    product=Product(8192, 50),
    wanted=1.5,
    wanted_compiled=2.0,
    wanted_of_limit=0.4,
)
SMALL_FAMILY = Scale(num_steps=20, batch=8, shots=1, num_rounds=5)
FULL_FAMILY = Scale(num_steps=100, batch=4, shots=1, product=Product(8192, 50))
TRIAL = Scale(num_steps=1, batch=1, shots=1, product=Product(2048, 1), num_warm_ups=0, num_rounds=1)


class Recipe:
    """The example's training loop, on our images and prompts."""

    def __init__(
        self,
        generator: Path,
        scale: Scale,
        images: np.ndarray,
        labels: list[int],
        names: tuple[str, ...],
    ):
        """Load the models and add the placeholder, as the example does."""
        self.model, self.scale = load_generator(generator).to_fastest(DEVICE), scale
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.pixels = pixels.to(DEVICE)
        word = initial_vector(self.model, INITIAL_WORD)
        self.new = [ids[0] for ids in put_words(self.model, {PLACEHOLDER: word})]
        prompts = [style_prompt(names[label], PLACEHOLDER) for label in labels]
        self.tokens = tuple(ids.to(DEVICE) for ids in self.model.tokenize(prompts))
        levels = training_levels(self.model.scheduler_config)
        self.timesteps, self.alphas, self.sigmas = (
            values.to(DEVICE) for values in (levels.timesteps, levels.alphas, levels.sigmas)
        )

    @property
    def tables(self) -> list[torch.nn.Parameter]:
        """The embedding table of each vocabulary."""
        return [word_table(vocabulary.text_encoder) for vocabulary in self.model.vocabularies]

    def run(self) -> None:
        """Take all steps; a second call goes on where the first one ended."""
        model, batch = self.model, self.scale.batch
        is_fast = model.dtype == torch.bfloat16
        before = [table.detach().clone() for table in self.tables]
        others = [
            torch.arange(len(table), device=DEVICE) != new
            for table, new in zip(self.tables, self.new, strict=True)
        ]
        for table in self.tables:
            table.requires_grad_(True)
        optimizer = torch.optim.AdamW(self.tables, lr=RATE, weight_decay=1e-2)
        for _ in range(self.scale.num_steps):
            chosen = torch.randint(len(self.pixels), (batch,), device=DEVICE)
            with torch.no_grad():
                mean, std = model.encode_images(self.pixels[chosen])
            latents = mean + std * torch.randn_like(mean)
            noise = torch.randn_like(latents)
            times = torch.randint(len(self.timesteps), (batch,), device=DEVICE)
            alpha, sigma = (
                values[times].view(-1, 1, 1, 1) for values in (self.alphas, self.sigmas)
            )
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=is_fast):
                condition = model.encode(tuple(ids[chosen] for ids in self.tokens))
            said = model.predict(
                alpha * latents + sigma * noise, self.timesteps[times], condition, 1.0
            )
            target = training_target(model.prediction, latents, noise, alpha, sigma)
            loss = mse_loss(said, target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for table, old, rest in zip(self.tables, before, others, strict=True):
                    table[rest] = old[rest]
            assert math.isfinite(loss.item())  # which the example's progress bar shows
        for table in self.tables:
            table.requires_grad_(False)


def measure_all(
    scale: Scale, world: World, rounds: int, family: str = "sd-1.5"
) -> dict[str, dict[str, Any]]:
    """Time both, and the product that the limit is taken from: a row a ratio."""
    dataset = read_dataset(world.real)
    model = load_generator(world.generator).to_fastest(DEVICE)
    samples = dataset.train_samples(scale.shots, 0)
    images = np.stack([read_square(sample, model.image_size) for sample in samples])
    labels = [sample.label for sample in samples]
    settings = InversionSettings(
        placeholder=PLACEHOLDER,
        initial_word=INITIAL_WORD,
        num_steps=scale.num_steps,
        batch_size=scale.batch,
        learning_rate=RATE,
        samples_per_class=1,
        seed=0,
    )
    lesson = Lesson(images, labels, dataset.class_names, flip=False)
    recipe = Recipe(world.generator, scale, images, labels, dataset.class_names)

    def learn(model: Generator) -> None:
        learned = invert_style(model, settings, lesson)
        assert np.isfinite(learned.losses).all()

    compiled = cache(model.compiled)
    arms: dict[str, Any] = {
        "ours": lambda: learn(model),
        "compiled": lambda: learn(compiled()),
        "recipe": recipe.run,
    }
    if scale.product:
        arms["product"] = scale.product.prepare(model.dtype)
    seconds = measure.take_turns(arms, rounds=rounds, num_warm_ups=scale.num_warm_ups)
    shared: dict[str, Any] = {
        "milliseconds_per_step": {
            name: round(1e3 * seconds[name] / scale.num_steps, 2)
            for name in ("ours", "compiled", "recipe")
        }
    }
    rows = {
        name: {
            "what": f"steps a second, {what} / diffusers' example recipe",
            "ratio": seconds["recipe"] / seconds[arm],
            "wanted": wanted,
            **shared,
        }
        for name, what, arm, wanted in (
            ("D1", "ours", "ours", scale.wanted),
            ("D1c", "ours compiled", "compiled", scale.wanted_compiled),
        )
    }
    if scale.product:
        peak = scale.product.operations / seconds["product"]  # operations a second
        job = (len(images), scale.num_steps, scale.batch)
        operations = counting.operations_of_inversion(*job, family)
        rows["D2"] = {
            "what": "ours / the matrix rate's limit",
            "ratio": operations / peak / seconds["ours"],
            "wanted": scale.wanted_of_limit,
            "matrix_tera_per_second": peak / 1e12,
            **shared,
        }
    return rows


def main() -> None:
    """Measure, print and save."""
    learning = [name for name in SMALL if FAMILIES[name].learns_words]
    args = measure.read_arguments(__doc__, has_scales=True, families=learning)
    small, full = (SMALL_FAMILY, FULL_FAMILY) if args.family else (MINIATURE, FULL)
    scale = choose(args.scale, miniature=small, full=full, trial=TRIAL)
    with open_world(args.folder, choose_family(args.family, args.scale)) as world:
        rounds = args.rounds or scale.num_rounds
        rows = measure_all(scale, world, rounds, args.family or "sd-1.5")
    measure.save_ratios(measure.result_name("inversion", args.scale, args.family), rows)


if __name__ == "__main__":
    main()
