"""Tuning: a LoRA of the denoiser learns to draw the real images, and nothing else moves.

After DataDream (arXiv:2407.10910), as its authors' code runs it: the caption of each image is
`a photo of a {class}`, one LoRA learns from the images of a data set or of one class, AdamW with
weight decay 0.01, gradients of norm 1 at most, a short warm-up and then a cosine. Their code tunes
the text encoder too; here prompts keep their meaning, in every family. The loss is the generator's
own: the error of its noise, v or flow at a random time.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from synthbridge.core.files import hash_value
from synthbridge.core.log import measure, measuring, progress, say
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.inversion import Lesson, prediction_error
from synthbridge.diffusion.latents import ClassBalance, Draw, cache_latents, draw_batch
from synthbridge.diffusion.learning import Checkpoint, read_checkpoint, write_checkpoint
from synthbridge.diffusion.lora import Change, beside, start_lora
from synthbridge.diffusion.schedule import training_levels
from synthbridge.diffusion.settings import TuneSettings
from synthbridge.diffusion.to_device import send

CAPTION = "a photo of a {}"  # DataDream
WARM_UP = 100  # steps; DataDream
WEIGHT_DECAY = 0.01  # DataDream; of A and B
MAX_NORM = 1.0  # of the gradient; DataDream


def caption(class_name: str) -> str:
    """Return the prompt that a real image is learned with."""
    return CAPTION.format(class_name)


FEW_STEPS = 16  # of a generator that draws in so many at most, and so was distilled


def say_if_distilled(generator: Generator) -> None:
    """Warn before a generator is tuned that was distilled to few steps, or to draw unguided."""
    most = generator.num_steps[1]
    if generator.guidance == "none" or most <= FEW_STEPS:
        say(
            f"  {generator.name} was distilled to draw quickly, and tuning undoes some of that: "
            "look at the pictures of samples, or name the model that it was distilled from below "
            "upstream.generator"
        )


def rate_at(step: int, num_steps: int, peak: float) -> float:
    """Return the learning rate of a step: a line up to the peak, then a cosine to 0.

    The warm-up takes a quarter of the steps where 100 are more: as published for a class, 100 of
    400, whatever the number.
    """
    warm_up = min(WARM_UP, num_steps // 4)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, num_steps - warm_up)
    return peak * (1 + math.cos(math.pi * done)) / 2


class TuningObjective:
    """The error of what the generator says of noised real images, told their captions."""

    def __init__(self, generator: Generator, settings: TuneSettings, lesson: Lesson):
        """Encode a caption a class and the images, once: neither changes."""
        self.generator, self.settings = generator, settings
        self.balance = ClassBalance(lesson.labels, lesson.class_names)
        self.cache = cache_latents(generator, lesson.images, flip=lesson.flip)
        self.levels = training_levels(generator.scheduler_config)
        tokens = generator.tokenize([caption(name) for name in lesson.class_names])
        with torch.no_grad(), generator.encoding():
            self.condition = generator.encode(tokens)  # a row a class
        self.key = _hash_task(settings, lesson, [ids.tolist() for ids in tokens])

    def draw(self, step: int) -> Draw:
        """Draw the batch of a step; that of -1 is for the readings alone."""
        return draw_batch(
            cache=self.cache,
            balance=self.balance,
            batch_size=self.settings.batch_size,
            num_timesteps=len(self.levels.timesteps),
            seed=self.settings.seed,
            step=step,
        )

    def loss(self, draw: Draw) -> torch.Tensor:
        """Return the loss of a batch, a scalar on the device."""
        rows = self.condition.rows(send(draw.classes, self.generator.device))
        return prediction_error(self.generator, self.levels, rows, draw)

    @torch.no_grad()
    def read(self) -> torch.Tensor:
        """Return the loss of a batch that no step learns from, the same at every call."""
        return self.loss(self.draw(-1))


def _hash_task(settings: TuneSettings, lesson: Lesson, ids: list[list[list[int]]]) -> str:
    """Name a task by all that goes into it, so that it resumes from its own checkpoint only."""
    pixels = hashlib.sha256(np.ascontiguousarray(lesson.images).data).hexdigest()
    labels = np.asarray(lesson.labels).tolist()
    return hash_value([settings.model_dump(), pixels, labels, ids, lesson.flip])


@dataclass
class Run:
    """How far the tuning is: all that a killed run needs to resume bit for bit."""

    step: int  # steps taken
    changes: dict[str, Change]  # of the parameters
    parameters: list[torch.nn.Parameter]  # A and B of each projection, float32, on the device
    optimizer: torch.optim.AdamW
    losses: torch.Tensor  # (num_steps,), on the device: reading each would make the CPU wait
    readings: torch.Tensor  # (2,) the loss of one batch before the first step and after the last


@dataclass(frozen=True)
class LearnedLora:
    """What the tuning leaves."""

    lora: dict[str, Change]  # float32, CPU; alpha / rank is in it
    losses: list[float]  # of each step's batch: noisy
    fixed_noise_losses: dict[int, float]  # steps taken -> loss of one batch, the same every time


def tune(
    generator: Generator,
    settings: TuneSettings,
    lesson: Lesson,
    checkpoint: Checkpoint | None = None,
) -> LearnedLora:
    """Learn a LoRA from the images of a lesson; the generator is left as it was.

    Args:
        generator: the frozen model, on the device to use.
        settings: section `tune`; it takes `steps_per_class` steps for each class of the lesson.
        lesson: the images to learn from, of all classes or of one.
        checkpoint: for a killed run, which resumes bit for bit where it stopped.

    Raises:
        ValueError: if a class has no image, the images are of another size, the loss is no number
            any more, or the checkpoint is damaged or of another task.
    """
    objective = TuningObjective(generator, settings, lesson)
    num_steps = settings.steps_per_class * len(lesson.class_names)
    run = _start_run(generator, settings, num_steps)
    if checkpoint is not None and checkpoint.path.exists():
        _load_run(run, checkpoint.path, objective.key)
    steps = range(run.step, num_steps)
    with beside(generator.denoiser, run.changes, settings.alpha / settings.rank):
        if run.step == 0:
            run.readings[0] = objective.read()
        for step in progress(steps, total=len(steps), what="tuning the generator", unit="step"):
            value = objective.loss(objective.draw(step))
            value.backward()
            torch.nn.utils.clip_grad_norm_(run.parameters, MAX_NORM)
            for group in run.optimizer.param_groups:
                group["lr"] = rate_at(step, num_steps, settings.learning_rate)
            run.optimizer.step()
            run.optimizer.zero_grad()
            run.losses[step] = value.detach()
            run.step = step + 1
            if run.step == num_steps:
                run.readings[1] = objective.read()
            is_due = checkpoint and (run.step % checkpoint.num_steps == 0 or run.step == num_steps)
            if checkpoint and is_due:
                _save_run(run, checkpoint.path, objective.key)
                since = max(0, run.step - checkpoint.num_steps)
                measure(run.step, loss=run.losses[since : run.step].mean().item())
    if not run.losses.isfinite().all():
        raise ValueError(
            f"tuning diverged: a loss of its {num_steps} steps is no number; lower "
            f"tune.learning_rate ({settings.learning_rate:g})"
        )
    scale = settings.alpha / settings.rank
    lora = {
        name: Change(change.down.detach().cpu(), scale * change.up.detach().cpu())
        for name, change in run.changes.items()
    }
    first, last = run.readings.tolist()
    return LearnedLora(lora, run.losses.tolist(), {0: first, num_steps: last})


def _start_run(generator: Generator, settings: TuneSettings, num_steps: int) -> Run:
    device = generator.device
    start = start_lora(generator.denoiser, settings.rank, settings.seed)
    changes, parameters = {}, []
    for name, zero in start.items():
        pair = [torch.nn.Parameter(part.to(device)) for part in (zero.down, zero.up)]
        changes[name] = Change(*pair)
        parameters += pair
    optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY)
    losses, readings = torch.zeros(num_steps, device=device), torch.zeros(2, device=device)
    return Run(0, changes, parameters, optimizer, losses, readings)


def _save_run(run: Run, path: Path, key: str) -> None:
    tensors = {"losses": run.losses, "readings": run.readings}
    for place, parameter in enumerate(run.parameters):
        state = run.optimizer.state[parameter]  # none of what the loss does not depend on
        tensors[f"{place}.value"] = parameter.detach()
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{place}.{moment}"] = state.get(moment, torch.zeros_like(parameter))
    write_checkpoint(path, key, run.step, tensors)


def _load_run(run: Run, path: Path, key: str) -> None:
    run.step, tensors = read_checkpoint(path, key, "tuning", run.losses.device)
    run.losses, run.readings = tensors["losses"], tensors["readings"]
    for place, parameter in enumerate(run.parameters):
        with torch.no_grad():
            parameter.copy_(tensors[f"{place}.value"])
        run.optimizer.state[parameter] = {
            "step": torch.tensor(float(run.step)),
            "exp_avg": tensors[f"{place}.exp_avg"],
            "exp_avg_sq": tensors[f"{place}.exp_avg_sq"],
        }


def tune_classes(
    generator: Generator,
    settings: TuneSettings,
    lesson: Lesson,
    checkpoints: Sequence[Checkpoint],
) -> list[LearnedLora]:
    """Learn a LoRA for each class from its own images, one after another; all else as `tune`.

    Args:
        generator: the frozen model.
        settings: section `tune`.
        lesson: the images of all classes.
        checkpoints: one a class; a class that is done costs a killed run nothing again.
    """
    labels = np.asarray(lesson.labels)
    learned = []
    for label, (name, saved) in enumerate(zip(lesson.class_names, checkpoints, strict=True)):
        own = lesson.images[labels == label]
        if not len(own):
            raise ValueError(f"class '{name}' has no real image; give it one or leave it out")
        of_class = Lesson(own, [0] * len(own), [name], lesson.flip)
        with measuring(f"class-{label:04d}"):
            learned.append(tune(generator, settings, of_class, saved))
    return learned
