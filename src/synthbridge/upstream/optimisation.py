"""How every model of the miniature upstream is optimised: AdamW, one cycle, two threads."""

from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

# Sums are split over threads, so their number is part of the result: two on any machine.
NUM_THREADS = 2


def use_fixed_threads() -> None:
    """Compute with two threads and deterministic kernels, whatever the number of cores."""
    torch.set_num_threads(NUM_THREADS)
    torch.use_deterministic_algorithms(True)


def make_optimiser(
    parameters: Iterable[Parameter], learning_rate: float, num_steps: int
) -> tuple[AdamW, OneCycleLR]:
    """Make AdamW and the one-cycle schedule that reaches `learning_rate` at its peak."""
    optimiser = AdamW(parameters, lr=learning_rate, weight_decay=0.01, fused=True)
    schedule = OneCycleLR(optimiser, learning_rate, total_steps=num_steps, pct_start=0.15)
    return optimiser, schedule
