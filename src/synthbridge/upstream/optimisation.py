"""How every model of the miniature upstream is trained: AdamW, one cycle, progress shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from synthbridge.core.log import progress

WEIGHT_DECAY = 0.01


@contextmanager
def descend(
    model: nn.Module, learning_rate: float, num_steps: int, *, max_norm: float | None = None
) -> Iterator[Callable[[Tensor], None]]:
    """Yield a function that takes one of `num_steps` gradient steps of `model` down a loss.

    Args:
        model: trained in place.
        learning_rate: the peak of the one-cycle schedule.
        num_steps: of the whole training.
        max_norm: longer gradients are shortened to it; None: they are taken as they are.
    """
    with _as_one(model) as weights:
        optimiser = AdamW([weights], lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = OneCycleLR(optimiser, learning_rate, total_steps=num_steps, pct_start=0.15)

        def step(loss: Tensor) -> None:
            loss.backward()
            if max_norm is not None:
                nn.utils.clip_grad_norm_(weights, max_norm)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=False)  # the parameters' gradients are parts of it

        yield step


@contextmanager
def _as_one(model: nn.Module) -> Iterator[nn.Parameter]:
    """Lay all parameters of `model` and their gradients into one parameter while the block runs.

    A small model's optimiser and the norm of its gradients take longer to walk through 200 tensors
    than to compute with their numbers.
    """
    parameters = list(model.parameters())
    whole = torch.empty(sum(parameter.numel() for parameter in parameters))
    weights = nn.Parameter(whole)
    weights.grad = torch.zeros_like(whole)
    start = 0
    for parameter in parameters:
        place = slice(start, start := start + parameter.numel())
        shape = (parameter.shape, parameter.stride())  # keeps the channels last where they are
        values = whole[place].as_strided(*shape)
        values.copy_(parameter.detach())
        parameter.data, parameter.grad = values, weights.grad[place].as_strided(*shape)
    try:
        yield weights
    finally:
        for parameter in parameters:  # apart again: files of weights hold no parts of a tensor
            parameter.data, parameter.grad = parameter.detach().clone(), None


def take_steps(steps: Iterator[float], num_steps: int, what: str) -> None:
    """Take all steps of a training, and show how far it is."""
    for _ in progress(steps, total=num_steps, what=what, unit="step"):
        pass
