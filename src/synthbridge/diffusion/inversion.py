"""Dataset style inversion (Bridged, section 4.1): one word is learned for a whole data set's style.

Only the word's vector S* is a parameter. Of eq. 2, min over S* of E |eps - eps_theta(x_t, t, c)|^2
with c the text `A {class} photo in the style of S*`, each step takes a batch: per element a class,
one of its images, a timestep and a noise. Optimiser, rate and start are chosen, see the settings.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.functional import mse_loss

from synthbridge.diffusion.attention import attend_to_prompts
from synthbridge.diffusion.latents import (
    ClassBalance,
    Draw,
    cache_latents,
    draw_batch,
)
from synthbridge.diffusion.loading import TextToImage
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.schedule import noise_levels
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import find_initial_token, word_table
from synthbridge.diffusion.text import encode_with_style, tokenize
from synthbridge.diffusion.transfer import send
from synthbridge.files import hash_value, whole_file
from synthbridge.progress import progress

NUM_EVALUATIONS = 10  # readings of the loss at fixed noise, besides the one before the first step


@dataclass
class Run:
    """Where a style inversion stands: all that a killed run needs to go on bit for bit."""

    step: int  # steps taken
    vector: torch.nn.Parameter  # (D,), float32
    optimizer: torch.optim.AdamW
    losses: torch.Tensor  # (num_steps,), on the device: reading each would make the CPU wait
    readings: torch.Tensor  # (NUM_EVALUATIONS + 1,): loss at fixed noise, the first before step 0


@dataclass(frozen=True)
class LearnedStyle:
    """What an inversion leaves."""

    vector: torch.Tensor  # (D,), float32, CPU
    losses: list[float]  # of each step's batch: noisy
    fixed_noise_losses: dict[int, float]  # steps taken -> loss on the same draws every time


class StyleObjective:
    """Eq. 2 for one batch: the noise prediction's error as a function of the style vector."""

    def __init__(self, generator: TextToImage, class_names: Sequence[str], initial_word: str):
        """Tokenise the class prompts, with the initial word where the style token will stand."""
        self.generator = generator
        self.initial_id = find_initial_token(generator.tokenizer, initial_word)
        prompts = [style_prompt(name, initial_word) for name in class_names]
        self.ids = tokenize(generator.tokenizer, prompts)  # (C, L)
        # Its last occurrence: a class name may hold the same word.
        is_word = self.ids == self.initial_id
        self.is_style = is_word & (is_word.flip(1).cumsum(1).flip(1) == 1)
        self.levels = noise_levels(generator.scheduler_config)  # (T,) alpha_t^2

    def initial_vector(self) -> torch.Tensor:
        """Return the initial word's embedding (D,), a float32 copy."""
        return word_table(self.generator.text_encoder)[self.initial_id].detach().clone().float()

    def loss(self, vector: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Return the mean squared error of the predicted noise, a scalar on the device."""
        unet, device = self.generator.unet, self.generator.device
        classes, index = draw.classes.unique(return_inverse=True)  # each prompt encoded once
        text = encode_with_style(
            self.generator.text_encoder, self.ids[classes], self.is_style[classes], vector
        ).to(unet.dtype)
        level = self.levels[draw.timesteps][:, None, None, None]
        noisy = level.sqrt() * draw.latents + (1 - level).sqrt() * draw.noise
        with attend_to_prompts(unet, text, send(index, device)):
            x_t, timesteps = send(noisy, device).to(unet.dtype), send(draw.timesteps, device)
            predicted = unet(x_t, timesteps, text, return_dict=False)[0]
        return mse_loss(predicted.float(), send(draw.noise, device))


def invert_style(
    generator: TextToImage,
    settings: InversionSettings,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    *,
    flip: bool,
    checkpoint: Path | None = None,
    steps_per_checkpoint: int = 100,
) -> LearnedStyle:
    """Learn the style token of a data set; the generator is left as it was.

    Args:
        generator: the frozen model, on the device to use.
        settings: section `invert`.
        images: uint8 (N, H, W, 3), of the size that the generator draws.
        labels: the class index of each image (N,).
        class_names: as the prompts name them.
        flip: learn from the mirror images too.
        checkpoint: where a killed run finds what it had; the same run continues bit for bit.
        steps_per_checkpoint: steps that a kill may cost.

    Raises:
        ValueError: if the initial word is no single token, a class without images, the images of
            another size, or the checkpoint of another run.
    """
    objective = StyleObjective(generator, class_names, settings.initial_word)
    draw = partial(
        draw_batch,
        balance=ClassBalance(labels, class_names),
        cache=cache_latents(generator, images, flip=flip),
        batch_size=settings.batch_size,
        num_timesteps=len(objective.levels),
        seed=settings.seed,
    )
    run = _start_run(objective, settings)
    key = _hash_run(settings, images, labels, class_names, flip)
    if checkpoint is not None and checkpoint.exists():
        _load_run(run, checkpoint, key)
    _learn(run, objective, draw, key, checkpoint, steps_per_checkpoint)
    readings = zip(_reading_steps(settings.num_steps), run.readings.tolist(), strict=False)
    return LearnedStyle(run.vector.detach().cpu(), run.losses.tolist(), dict(readings))


def _learn(
    run: Run,
    objective: StyleObjective,
    draw: Callable[..., Draw],
    key: str,
    checkpoint: Path | None,
    steps_per_checkpoint: int,
) -> None:
    """Take the steps that are left of `run`."""
    reading_at = _reading_steps(len(run.losses))
    steps = range(run.step, len(run.losses))
    for step in progress(steps, total=len(steps), what="learning the style token", unit="step"):
        if step == 0:
            run.readings[0] = _fixed_noise_loss(objective, run.vector, draw)
        loss = objective.loss(run.vector, draw(step=step))
        loss.backward()
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.losses[step] = loss.detach()
        run.step = step + 1
        if run.step in reading_at:
            reading = _fixed_noise_loss(objective, run.vector, draw)
            run.readings[reading_at.index(run.step)] = reading
        if checkpoint is not None and run.step % steps_per_checkpoint == 0:
            _save_run(run, checkpoint, key)


def _reading_steps(num_steps: int) -> list[int]:
    """Return after how many steps the loss is read at fixed noise: 0, ..., `num_steps`."""
    return sorted({num_steps * i // NUM_EVALUATIONS for i in range(NUM_EVALUATIONS + 1)})


@torch.no_grad()
def _fixed_noise_loss(
    objective: StyleObjective, vector: torch.Tensor, draw: Callable[..., Draw]
) -> torch.Tensor:
    """Return the loss on a draw that no step learns from, the same at every call.

    One batch: that it is the same each time makes the readings compare, and more would slow the
    inversion down.
    """
    return objective.loss(vector, draw(step=-1))


def _hash_run(
    settings: InversionSettings,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    flip: bool,
) -> str:
    """Name a run by what goes into it, so that it goes on from its own checkpoint only."""
    pixels = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    numbers = np.asarray(labels).tolist()
    return hash_value([settings.model_dump(), pixels, numbers, list(class_names), flip])


def _start_run(objective: StyleObjective, settings: InversionSettings) -> Run:
    device = objective.generator.device
    vector = torch.nn.Parameter(objective.initial_vector().to(device))
    optimizer = torch.optim.AdamW([vector], lr=settings.learning_rate, weight_decay=0)
    losses = torch.zeros(settings.num_steps, device=device)
    readings = torch.zeros(NUM_EVALUATIONS + 1, device=device)
    return Run(0, vector, optimizer, losses, readings)


def _save_run(run: Run, path: Path, key: str) -> None:
    moments = run.optimizer.state[run.vector]
    tensors = {
        "vector": run.vector.detach(),
        "first_moment": moments["exp_avg"],
        "second_moment": moments["exp_avg_sq"],
        "losses": run.losses,
        "readings": run.readings,
    }
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata={"key": key, "step": str(run.step)})


def _load_run(run: Run, path: Path, key: str) -> None:
    try:
        checkpoint = safe_open(path, framework="pt", device=str(run.vector.device))
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no whole checkpoint ({error}); delete it to start anew"
        ) from None
    with checkpoint as file:
        if file.metadata().get("key") != key:
            raise ValueError(
                f"{path} is a checkpoint of another style inversion (other settings or images); "
                "delete it to start anew"
            )
        run.step = int(file.metadata()["step"])
        run.losses, run.readings = file.get_tensor("losses"), file.get_tensor("readings")
        with torch.no_grad():
            run.vector.copy_(file.get_tensor("vector"))
        run.optimizer.state[run.vector] = {
            "step": torch.tensor(float(run.step)),
            "exp_avg": file.get_tensor("first_moment"),
            "exp_avg_sq": file.get_tensor("second_moment"),
        }
