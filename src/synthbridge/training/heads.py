"""Linear heads on frozen features: several rates and seeds at once, each as it would train alone.

Fixed-feature transfer (Bridged, table 6) trains nothing but the head, with SGD as every leg does,
at several rates and seeds. One head is too small to keep a device busy, so all of them take each
step together: a run (a seed's features and batches) is a row of a batched matrix product, and the
heads that share its batches (one a rate) stand beside one another in it. Fifteen heads train 4.7
times as fast so as one after another (docs/benchmarks.md, S1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from synthbridge.training.classifier import seeded
from synthbridge.training.loop import steps
from synthbridge.training.schedule import cosine_rate, num_batches
from synthbridge.training.settings import TrainingSettings


@dataclass(frozen=True)
class HeadRecipe:
    """How linear heads are trained on frozen features."""

    settings: TrainingSettings  # batch size, momentum and weight decay, as of every leg
    learning_rates: Sequence[float]  # peaks; each run trains a head at each of them
    num_epochs: int  # passes over the training images


def fresh_head(num_features: int, num_classes: int, seed: int) -> Tensor:
    """Draw a head as FC reinit does: (C, D + 1), the last column the bias."""
    with seeded(seed):
        layer = nn.Linear(num_features, num_classes)
    return _weights(layer)


def linear_head(model: nn.Module) -> Tensor | None:
    """Return a copy of a timm model's head, (C, D + 1); None if it is no linear layer."""
    layer = model.get_classifier()  # pyright: ignore[reportCallIssue]
    return _weights(layer) if isinstance(layer, nn.Linear) and layer.bias is not None else None


def _weights(layer: nn.Linear) -> Tensor:
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().clone()


def train_heads(
    features: Sequence[Tensor],
    labels: Tensor,
    starts: Sequence[Tensor],
    recipe: HeadRecipe,
    seeds: Sequence[int],
) -> Tensor:
    """Train a head for every run and rate: SGD with a cosine rate, all of them step by step.

    The gradient of the cross entropy is written out: with autograd a step takes half as long again
    (measured on a CPU at S1's sizes). The rest is torch's SGD with momentum and weight decay,
    v = m v + (g + wd w), w = w - rate v.

    Args:
        features: of each run, (N, D) float32 on one device; the same object where runs share them.
        labels: the class indices (N,), the same for all runs.
        starts: the head that each run starts from, (C, D + 1).
        recipe: rates, epochs and optimiser.
        seeds: one a run, which draws its batches.

    Returns:
        The heads (runs, rates, C, D + 1).
    """
    settings = recipe.settings
    num_runs, num_rates = len(features), len(recipe.learning_rates)
    num_classes, width = starts[0].shape
    with_bias = {id(table): with_ones(table) for table in features}
    tables = [with_bias[id(table)] for table in features]  # (N, D + 1)
    heads = torch.stack([start.repeat(num_rates, 1) for start in starts])  # (S, R C, D + 1)
    velocity = torch.zeros_like(heads)
    num_steps = recipe.num_epochs * num_batches(len(labels), settings.batch_size)
    rates = heads.new_tensor(recipe.learning_rates).repeat_interleave(num_classes)[:, None]
    orders = (steps(len(labels), settings.batch_size, seed, num_steps) for seed in seeds)
    for step, of_runs in enumerate(zip(*orders, strict=True)):
        batches = np.stack([batch for batch, _ in of_runs])
        rows = torch.from_numpy(batches).to(labels.device)  # (S, B)
        inputs = zip(tables, rows, strict=True)
        x = torch.stack([table.index_select(0, row) for table, row in inputs])  # (S, B, D + 1)
        logits = torch.bmm(x, heads.mT).view(*rows.shape, num_rates, num_classes)
        error = logits.softmax(-1)  # less 1 at the right class: (S, B, R, C)
        targets = labels[rows][:, :, None, None].expand(-1, -1, num_rates, 1)
        error.scatter_add_(-1, targets, -torch.ones_like(targets, dtype=error.dtype))
        gradient = torch.bmm(error.view(num_runs, rows.shape[1], -1).mT, x) / rows.shape[1]
        velocity.mul_(settings.momentum).add_(gradient).add_(heads, alpha=settings.weight_decay)
        heads.addcmul_(rates, velocity, value=-cosine_rate(1.0, step, num_steps))
    return heads.view(num_runs, num_rates, num_classes, width)


def with_ones(features: Tensor) -> Tensor:
    """Add a column of ones, which a head's last column, its bias, multiplies: (N, D + 1)."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def head_accuracies(heads: Tensor, features: Sequence[Tensor], labels: Tensor) -> np.ndarray:
    """Return the top-1 accuracy of every head: (runs, rates).

    Args:
        heads: as `train_heads` returns them.
        features: of each run, (N, D).
        labels: (N,).
    """
    correct = [
        ((with_ones(table) @ of_run.mT).argmax(-1) == labels).float().mean(-1)
        for of_run, table in zip(heads, features, strict=True)
    ]
    return torch.stack(correct).double().cpu().numpy()
