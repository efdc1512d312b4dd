"""The training loop: one for every leg of every arm, and for any number of processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from synthbridge.core.log import measure
from synthbridge.training.classifier import set_train_mode
from synthbridge.training.crops import centre_crop
from synthbridge.training.images import ImageSet, hard_labels
from synthbridge.training.mixture import Mixture
from synthbridge.training.recipe import Recipe
from synthbridge.training.schedule import cosine_rate, epoch_batches, share
from synthbridge.training.team import Team, summed_cross_entropy, unshare_batch_norm

TEST_BATCH = 256
STEPS_DRAWN_AHEAD = 32

T = TypeVar("T")


class DivergedError(ValueError):
    """The loss is no longer a number."""


@dataclass(frozen=True, kw_only=True)
class Leg:
    """What one leg does beside the recipe that all legs share."""

    num_steps: int  # gradient steps
    learning_rate: float  # the peak
    seed: int  # decides every draw
    mixup: float = 0.0  # alpha of the beta distribution (arXiv:1710.09412); 0: none. No smoothing
    mixture: Mixture | None = None  # how real and synthetic images share batches; None: all alike


@dataclass(frozen=True)
class StepDraw:
    """What is random in one step, drawn for the global batch."""

    batch: np.ndarray  # (B,) indices of images
    boxes: np.ndarray  # (B, 2, 3), as `Augmentation.draw` gives them
    rng: np.random.Generator  # what mixup draws from, after the boxes


@dataclass
class Curve:
    """What training showed: one value an epoch, over the augmented images as they were trained."""

    train_loss: list[float] = field(default_factory=list)
    # With mixup, and of a soft label: of the class that weighs more.
    train_accuracy: list[float] = field(default_factory=list)


def train(model: nn.Module, images: ImageSet, recipe: Recipe, leg: Leg, team: Team) -> Curve:
    """Train `model` in place through one leg: SGD with a cosine rate.

    Every draw of a step (crops, mirroring, mixup) is made for the global batch from the leg's seed
    and the step's number, then each process takes its part; so the number of processes changes
    nothing but the order of sums.

    Args:
        model: a classifier; frozen units are those whose parameters need no gradient.
        images: on the team's device.
        recipe: augmentation, normalisation and optimiser.
        leg: how long, at what rate, with which draws and mixing.
        team: the processes that share each global batch.

    Raises:
        DivergedError: if the loss becomes infinite or not a number.
    """
    settings = recipe.settings
    mixture = leg.mixture or Mixture(num_real=len(images))
    mixture.separate_norms(model, settings.frozen_norm)
    trained = team.wrap(model)
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=leg.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    set_train_mode(trained, settings.frozen_norm)
    curve = Curve()
    # Since the epoch began; on the device, because reading a number makes the CPU wait.
    total_loss, num_correct = torch.zeros(2, device=team.device).unbind()
    num_images = 0
    batches = leg_steps(len(images), settings.batch_size, leg.seed, leg.num_steps, mixture)
    draws = (
        (draw_step(images, batch, recipe, np.random.default_rng([leg.seed, step])), ends_epoch)
        for step, (batch, ends_epoch) in enumerate(batches)
    )
    for step, (drawn, ends_epoch) in enumerate(_in_blocks(draws, STEPS_DRAWN_AHEAD)):
        batch = drawn.batch
        inputs, first, second, part = draw_inputs(images, drawn, recipe, mixup=leg.mixup, team=team)
        mixture.route(trained, batch, team)
        weights = mixture.weigh(batch, team)
        with team.accelerator.autocast():
            logits = trained(inputs)  # (b, C)
        loss = summed_cross_entropy(logits, first, weights)
        if part < 1:
            loss = part * loss + (1 - part) * summed_cross_entropy(logits, second)
        # The processes' gradients are averaged, so each one's share of the sum counts `size` times.
        team.accelerator.backward(loss * (team.size / len(batch)))
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(leg.learning_rate, step, leg.num_steps)
        optimizer.step()
        optimizer.zero_grad()
        total_loss += loss.detach()
        weightier = hard_labels(first if part >= 0.5 else second)
        num_correct += (logits.argmax(1) == weightier).sum()
        num_images += len(first)
        if ends_epoch or step == leg.num_steps - 1:
            sums = [total_loss.item(), num_correct.item(), num_images]
            _close_epoch(curve, sums, team, leg.learning_rate, step)
            total_loss.zero_()
            num_correct.zero_()
            num_images = 0
    unshare_batch_norm(model)
    mixture.join_norms(model)
    return curve


def leg_steps(
    num_images: int, batch_size: int, seed: int, num_steps: int, mixture: Mixture
) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield what `steps` yields, composed as `mixture` says."""
    if mixture.synthetic_fraction is None:
        batches = steps(num_images, batch_size, seed, num_steps)
    else:
        batches = mixture.steps(num_images, batch_size, seed, num_steps)
    for batch, ends_epoch in batches:
        yield mixture.order(batch), ends_epoch


def steps(
    num_images: int, batch_size: int, seed: int, num_steps: int
) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield `num_steps` global batches of indices, and whether each is the last of its epoch."""
    step = epoch = 0
    while step < num_steps:
        batches = epoch_batches(num_images, batch_size, seed, epoch)[: num_steps - step]
        for batch in batches:
            yield batch, batch is batches[-1]
        step, epoch = step + len(batches), epoch + 1


def _in_blocks(items: Iterator[T], size: int) -> Iterator[T]:
    """Yield `items`, making `size` of them at a time.

    A training step empties the caches. One step's draws, made alone, take 0.26 ms after it; in a
    block of 32 they take 0.04 ms each. That is 1 % of the miniature's step of 20 ms.
    """
    while block := list(islice(items, size)):
        yield from block


def draw_step(
    images: ImageSet, batch: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> StepDraw:
    """Draw how the images at `batch` (B,) are cropped and mirrored."""
    return StepDraw(batch, recipe.augmentation.draw(images.sides(batch), rng), rng)


def draw_inputs(
    images: ImageSet, drawn: StepDraw, recipe: Recipe, *, mixup: float, team: Team
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Make this process's part of a global batch.

    Returns:
        Inputs (b, 3, H, W); the labels (b,), or soft ones (b, C), of the first and of the second
        mixed image; the first one's part in 0..1 (1 without mixup).
    """
    mine = share(np.arange(len(drawn.batch)), team.rank, team.size)

    def cut(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        batch = drawn.batch[rows]
        cropped = images.crops(batch, drawn.boxes[rows], recipe.settings.image_size)
        index = torch.from_numpy(batch).to(team.device)
        return recipe.normalisation(cropped), images.labels.index_select(0, index)

    inputs, labels = cut(mine)
    if mixup == 0:
        return inputs, labels, labels, 1.0
    part = float(drawn.rng.beta(mixup, mixup))
    others, other_labels = cut(drawn.rng.permutation(len(drawn.batch))[mine])
    return part * inputs + (1 - part) * others, labels, other_labels, part


def _close_epoch(
    curve: Curve, sums: Sequence[float], team: Team, learning_rate: float, step: int
) -> None:
    """Add an epoch's means to `curve`, from this process's loss, correct answers and images."""
    loss, correct, count = np.sum(team.gather([sums]), axis=0)
    if not np.isfinite(loss):
        raise DivergedError(
            f"the loss is {loss} at step {step + 1} with learning rate {learning_rate}; "
            "choose a lower rate"
        )
    curve.train_loss.append(float(loss / count))
    curve.train_accuracy.append(float(correct / count))
    measure(step + 1, train_loss=curve.train_loss[-1], train_accuracy=curve.train_accuracy[-1])


@torch.inference_mode()
def predict(model: nn.Module, images: ImageSet, recipe: Recipe, team: Team) -> np.ndarray:
    """Return the class probabilities of all `images`, centre-cropped: (N, C) float32."""
    # The channels last, as training leaves them: other kernels would sum in another order.
    model.to(team.device, memory_format=torch.channels_last).eval()  # pyright: ignore
    rows = share(np.arange(len(images)), team.rank, team.size)
    parts = []
    for start in range(0, len(rows), TEST_BATCH):
        index = torch.from_numpy(rows[start : start + TEST_BATCH]).to(team.device)
        inputs = centre_crop(images.at(index), recipe.settings.image_size)
        with team.accelerator.autocast():
            logits = model(recipe.normalisation(inputs))
        parts.append(logits.float().softmax(1).cpu().numpy())
    return np.concatenate(team.gather(parts))
