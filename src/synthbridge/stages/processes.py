"""The processes of a stage: how they share units of work."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from synthbridge.progress import say

T = TypeVar("T")


@contextmanager
def start_accelerator(*, cpu: bool = False) -> Iterator[Accelerator]:
    """Yield this process's Accelerator, and end its process group whatever happens.

    On the CPU every process computes with one thread, so that the number of cores decides
    nothing but the time: sums taken in another order would change bytes.

    Args:
        cpu: stay on the CPU also where there is a GPU.
    """
    cpu = cpu or not torch.cuda.is_available()
    if cpu:
        torch.set_num_threads(1)
    # A process may wait for the others as long as their units take: days, not torch's minutes.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=7))
    accelerator = Accelerator(cpu=cpu, kwargs_handlers=[patience])
    if accelerator.num_processes > 1:
        say(f"  sharing the work between {accelerator.num_processes} processes")
    try:
        yield accelerator
        accelerator.wait_for_everyone()
    finally:
        accelerator.end_training()


def missing_units(
    accelerator: Accelerator, units: Sequence[T], is_done: Callable[[T], bool]
) -> list[T]:
    """List the units that are not done, settled before any process starts to make one."""
    missing = [unit for unit in units if not is_done(unit)]
    accelerator.wait_for_everyone()
    return missing


def my_share(accelerator: Accelerator, units: Sequence[T]) -> Sequence[T]:
    """Return this process's units: every n-th of them."""
    return units[accelerator.process_index :: accelerator.num_processes]


def share_units(
    accelerator: Accelerator, units: Sequence[T], is_done: Callable[[T], bool]
) -> Iterator[T]:
    """Yield what this process has to make; it ends when every process has made its own."""
    yield from my_share(accelerator, missing_units(accelerator, units, is_done))
    accelerator.wait_for_everyone()
