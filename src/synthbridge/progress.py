"""What a stage says: a first line, a bar (in a terminal) or plain lines (in a log), a last line."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


def say(line: str) -> None:
    """Print one line, from the first process of a run only."""
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)


def progress(
    items: Iterable[T], *, total: int, what: str, unit: str, items_each: int = 1
) -> Iterator[T]:
    """Pass `items` on and show how far it is, at what rate, and how long it will still take.

    Args:
        items: what to count.
        total: the number of items.
        what: what is being done ("training the UNet").
        unit: what one count is called in the rate ("step", "image").
        items_each: how many units one item stands for.
    """
    if os.environ.get("RANK", "0") != "0":
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total * items_each, desc=what, unit=f" {unit}") as bar:
            for item in items:
                yield item
                bar.set_postfix_str(_of_estimate(), refresh=False)
                bar.update(items_each)
    else:
        yield from _progress_lines(items, total=total * items_each, what=what, unit=unit,
                                   items_each=items_each)  # fmt: skip


def _progress_lines(
    items: Iterable[T], *, total: int, what: str, unit: str, items_each: int
) -> Iterator[T]:
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now, done = time.monotonic(), count * items_each
        if now - last >= SECONDS_BETWEEN_LINES:
            rate = done / (now - start)
            left = (total - done) / rate
            line = f"{what}: {done}/{total} {unit}s, {rate:.1f} {unit}s/s, {left:.0f} s left"
            say(f"  {', '.join(filter(None, [line, _of_estimate()]))}")
            last = now


def _of_estimate() -> str:
    """Say how much of the time that the stage was expected to take is gone; "": none was."""
    if (log := StageLog.running) is None or log.expected is None:
        return ""
    return f"{time.monotonic() - log.start:.0f} s gone of about {log.expected:.0f} s estimated"


class StageLog:
    """Says what a stage is about to do, and at its end what it made, in what time, and where.

    A process runs one stage at a time: `progress` compares with what that is expected to take.
    """

    running: "ClassVar[StageLog | None]" = None

    def __init__(self, about_to: str):
        """Print the first line."""
        self.start, self.expected = time.monotonic(), None
        StageLog.running = self
        say(about_to)

    def expect(self, seconds: float, origin: str) -> None:
        """Print how long it will take from here on, and by whose rates; `done` compares."""
        self.expected, self.start = seconds, time.monotonic()
        say(f"  about {seconds:.{0 if seconds >= 10 else 1}f} s, by the rates of {origin}")

    def done(self, made: str, where: Path) -> None:
        """Print the last line."""
        took = f"{time.monotonic() - self.start:.1f} s"
        if self.expected is not None:
            took += f" ({self.expected:.1f} s were estimated)"
        say(f"made {made} in {took}: {where}")
