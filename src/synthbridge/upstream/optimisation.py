"""How every model of the miniature upstream is trained: AdamW, one cycle, progress shown."""

from collections.abc import Iterable, Iterator

from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from synthbridge.core.log import progress


def make_optimiser(
    parameters: Iterable[Parameter], learning_rate: float, num_steps: int
) -> tuple[AdamW, OneCycleLR]:
    """Make AdamW and the one-cycle schedule that reaches `learning_rate` at its peak."""
    optimiser = AdamW(parameters, lr=learning_rate, weight_decay=0.01, fused=True)
    schedule = OneCycleLR(optimiser, learning_rate, total_steps=num_steps, pct_start=0.15)
    return optimiser, schedule


def take_steps(steps: Iterator[float], num_steps: int, what: str) -> None:
    """Take all steps of a training, and show how far it is."""
    for _ in progress(steps, total=num_steps, what=what, unit="step"):
        pass
