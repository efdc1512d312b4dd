"""Learning words: vectors in the place of a prompt's word descend a loss, and nothing else moves.

Style token, class tokens and oracle words differ in their loss alone. AdamW, at a constant rate,
without weight decay; a killed run resumes bit for bit where it stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from synthbridge.core.files import whole_file
from synthbridge.core.log import measure, progress
from synthbridge.diffusion.settings import InversionSettings

NUM_EVALUATIONS = 10  # readings of the loss at fixed noise, besides the one before the first step

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Task(Generic[Batch]):
    """What is learned: words that start somewhere and descend a loss."""

    start: torch.Tensor  # (V, D) float32, on the device to use
    loss: Callable[[Sequence[torch.Tensor], Batch], torch.Tensor]  # of the V vectors and a batch
    draw: Callable[[int], Batch]  # a step's batch; that of step -1 is for the readings alone
    key: str  # names the task by all that goes into it


@dataclass(frozen=True)
class Checkpoint:
    """Where a killed run finds what it had, and how many steps a kill may cost."""

    path: Path
    num_steps: int = 100  # between two checkpoints


@dataclass
class Learning:
    """How far the learning is: all that a killed run needs to resume bit for bit."""

    step: int  # steps taken
    # V of (D,), float32. Each is a parameter of its own: a step leaves one that its loss does not
    # depend on alone, momentum included, where a row of one parameter would drift.
    vectors: list[torch.nn.Parameter]
    optimizer: torch.optim.AdamW
    losses: torch.Tensor  # (num_steps,), on the device: reading each would make the CPU wait
    readings: torch.Tensor  # (NUM_EVALUATIONS + 1,): loss at fixed noise, the first before step 0


@dataclass(frozen=True)
class LearnedWords:
    """What the learning leaves."""

    vectors: torch.Tensor  # (V, D), float32, CPU
    losses: list[float]  # of each step's batch: noisy
    fixed_noise_losses: dict[int, float]  # steps taken -> loss on the same draws every time


def learn_words(
    task: Task[Batch], settings: InversionSettings, checkpoint: Checkpoint | None = None
) -> LearnedWords:
    """Learn the vectors that the start of `task` becomes.

    Raises:
        ValueError: if the checkpoint is damaged or of another task.
    """
    run = _start_run(task.start, settings)
    if checkpoint is not None and checkpoint.path.exists():
        _load_run(run, checkpoint.path, task.key)
    reading_at = _reading_steps(settings.num_steps)
    steps = range(run.step, settings.num_steps)
    num_words = len(task.start)
    what = "learning the style token" if num_words == 1 else f"learning {num_words} words"
    for step in progress(steps, total=len(steps), what=what, unit="step"):
        if step == 0:
            run.readings[0] = _read_loss(task, run)
        value = task.loss(run.vectors, task.draw(step))
        value.backward()
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.losses[step] = value.detach()
        run.step = step + 1
        if run.step in reading_at:
            run.readings[reading_at.index(run.step)] = _read_loss(task, run)
        if checkpoint is not None and run.step % checkpoint.num_steps == 0:
            _save_run(run, checkpoint.path, task.key)
            latest = run.losses[run.step - checkpoint.num_steps : run.step]
            measure(run.step, loss=latest.mean().item())
    readings = dict(zip(reading_at, run.readings.tolist(), strict=False))
    return LearnedWords(_stack(run.vectors).cpu(), run.losses.tolist(), readings)


def _reading_steps(num_steps: int) -> list[int]:
    """Return after how many steps the loss is read at fixed noise: 0, ..., `num_steps`."""
    return sorted({num_steps * i // NUM_EVALUATIONS for i in range(NUM_EVALUATIONS + 1)})


@torch.no_grad()
def _read_loss(task: Task, run: Learning) -> torch.Tensor:
    """Return the loss on a batch that no step learns from, the same at every call.

    One batch: that it is the same each time makes the readings compare, and more would slow the
    learning down.
    """
    return task.loss(run.vectors, task.draw(-1))


def _start_run(start: torch.Tensor, settings: InversionSettings) -> Learning:
    vectors = [torch.nn.Parameter(vector.clone()) for vector in start]
    optimizer = torch.optim.AdamW(vectors, lr=settings.learning_rate, weight_decay=0)
    losses = torch.zeros(settings.num_steps, device=start.device)
    readings = torch.zeros(NUM_EVALUATIONS + 1, device=start.device)
    return Learning(0, vectors, optimizer, losses, readings)


def _stack(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([vector.detach() for vector in vectors])


def _save_run(run: Learning, path: Path, key: str) -> None:
    # A vector that no step has touched has no state yet: the zeros that its first step begins with.
    states = [run.optimizer.state[vector] for vector in run.vectors]
    zeros = torch.zeros_like(run.vectors[0])
    tensors = {
        "vectors": _stack(run.vectors),
        "first_moments": torch.stack([state.get("exp_avg", zeros) for state in states]),
        "second_moments": torch.stack([state.get("exp_avg_sq", zeros) for state in states]),
        "steps": torch.tensor([float(state.get("step", 0)) for state in states]),  # each one's own
        "losses": run.losses,
        "readings": run.readings,
    }
    write_checkpoint(path, key, run.step, tensors)


def _load_run(run: Learning, path: Path, key: str) -> None:
    run.step, saved = read_checkpoint(path, key, "style inversion", run.losses.device)
    run.losses, run.readings = saved["losses"], saved["readings"]
    names = ("vectors", "first_moments", "second_moments", "steps")
    words = zip(run.vectors, *(saved[name] for name in names), strict=True)
    for own, vector, first, second, step in words:
        with torch.no_grad():
            own.copy_(vector)
        run.optimizer.state[own] = {
            "step": step.cpu().clone(),
            "exp_avg": first.clone(),
            "exp_avg_sq": second.clone(),
        }


def write_checkpoint(path: Path, key: str, step: int, tensors: dict[str, torch.Tensor]) -> None:
    """Write what a killed run resumes from, after `step` steps of the task called `key`."""
    with whole_file(path) as partial:
        about = {"key": key, "step": str(step)}
        partial.write_bytes(save(tensors, about))  # save_file hides that a disk is full


def read_checkpoint(
    path: Path, key: str, task: str, device: torch.device
) -> tuple[int, dict[str, torch.Tensor]]:
    """Read the steps taken, and the tensors, onto `device`.

    Raises:
        ValueError: if the file is damaged or of another `task` (what people call it) than `key`.
    """
    try:
        file = safe_open(path, framework="pt", device=str(device))
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no whole checkpoint ({error}); delete it to start anew"
        ) from None
    with file as opened:
        about = opened.metadata()
        if about.get("key") != key:
            raise ValueError(
                f"{path} is a checkpoint of another {task} (other settings or images); delete it "
                "to start anew"
            )
        names = opened.keys()  # the file itself is no mapping
        return int(about["step"]), {name: opened.get_tensor(name) for name in names}
