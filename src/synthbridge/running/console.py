"""The terminal: lines, and a bar or, in a log, a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from synthbridge.forecast.missing_work import Forecast, forecast
from synthbridge.running.spent import note_time, spent_sentence

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


class Console:
    """Shows what a stage says (`core.log`), beside the time that it was expected to take.

    A process runs one stage at a time.
    """

    def __init__(self) -> None:
        """Start the clock."""
        self.start, self.expected = time.monotonic(), None
        self.stage, self.began = "", self.start

    def say(self, line: str) -> None:
        """Print one line."""
        print(line, flush=True)

    def begin(self, about_to: str) -> None:
        """Print the first line of a stage."""
        self.start, self.expected = time.monotonic(), None
        self.stage, self.began = about_to.split(":")[0], self.start
        self.say(about_to)

    def expect(self, stage: str, missing: dict[str, Any]) -> None:
        """Print how long it will take from here on, and by whose speeds; `done` compares."""
        found: Forecast | None = forecast(stage, missing)
        if found is None:
            return
        self.start, self.expected = time.monotonic(), found.seconds
        digits = 0 if found.seconds >= 10 else 1
        self.say(f"  about {found.seconds:.{digits}f} s, by the speeds of {found.origin}")

    def measure(self, training: str, step: int, values: Mapping[str, float]) -> None:
        """Show nothing: curves stand in the report."""

    def done(self, made: str, where: Path) -> None:
        """Print the last line of a stage; of the report's, what all stages took."""
        now = time.monotonic()
        took = f"{now - self.start:.1f} s"
        if self.expected is not None:
            took += f" ({self.expected:.1f} s were estimated)"
        self.say(f"made {made} in {took}: {where}")
        note_time(now - self.began)
        if self.stage == "report" and (spent := spent_sentence()):
            self.say(f"  {spent}")

    def progress(
        self, items: Iterable[T], *, total: int, what: str, unit: str, items_each: int
    ) -> Iterator[T]:
        """Pass `items` on and show how far it is, how fast, and how long it will still take."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            with tqdm(total=total * items_each, desc=what, unit=f" {unit}") as bar:
                for item in items:
                    yield item
                    bar.set_postfix_str(self._of_estimate(), refresh=False)
                    bar.update(items_each)
        else:
            yield from self._lines(items, total * items_each, what, unit, items_each)

    def _lines(
        self, items: Iterable[T], total: int, what: str, unit: str, items_each: int
    ) -> Iterator[T]:
        start = last = time.monotonic()
        for count, item in enumerate(items, start=1):
            yield item
            now, done = time.monotonic(), count * items_each
            if now - last >= SECONDS_BETWEEN_LINES:
                speed = done / (now - start)
                left = (total - done) / speed
                line = f"{what}: {done}/{total} {unit}s, {speed:.1f} {unit}s/s, {left:.0f} s left"
                self.say(f"  {', '.join(filter(None, [line, self._of_estimate()]))}")
                last = now

    def _of_estimate(self) -> str:
        """Say how much of the expected time is gone; "": none was expected."""
        if self.expected is None:
            return ""
        gone = time.monotonic() - self.start
        return f"{gone:.0f} s gone of about {self.expected:.0f} s estimated"
