"""The processes of a stage: how they share units of work."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from synthbridge.core.log import say
from synthbridge.core.shares import end_share, read_share

SECONDS_UNTIL_SEEN = 90  # an NFS client may say for a minute that a missed folder is not there

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
    """List the units that are not done, settled before any process starts to make one.

    A run that makes a share (SYNTHBRIDGE_SHARE) has every n-th of all units, done or not, so that
    runs which begin at different times never make the same one.
    """
    missing = [unit for unit in _in_share(units) if not is_done(unit)]
    accelerator.wait_for_everyone()
    return missing


def wait_for_units(
    accelerator: Accelerator, units: Sequence[T], is_done: Callable[[T], bool]
) -> None:
    """Wait until all processes have made their units, and until this one sees them.

    Raises:
        ShareMade: if the run makes a share of the units: no more is to be done.
    """
    accelerator.wait_for_everyone()
    deadline = time.monotonic() + SECONDS_UNTIL_SEEN
    while not all(is_done(unit) for unit in _in_share(units)) and time.monotonic() < deadline:
        time.sleep(0.5)
    end_share()


def _in_share(units: Sequence[T]) -> Sequence[T]:
    number, count = read_share()
    return units[number::count]


def my_share(accelerator: Accelerator, units: Sequence[T]) -> Sequence[T]:
    """Return this process's units: every n-th of them."""
    return units[accelerator.process_index :: accelerator.num_processes]


def share_units(
    accelerator: Accelerator, units: Sequence[T], is_done: Callable[[T], bool]
) -> Iterator[T]:
    """Yield what this process has to make; it ends when every process has made its own."""
    yield from my_share(accelerator, missing_units(accelerator, units, is_done))
    wait_for_units(accelerator, units, is_done)
