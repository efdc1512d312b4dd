"""What a stage says while it works: that it begins, how far it is, how long it will take, its end.

Who shows it, and who knows how long things take, is no business of the code that makes images and
models, and would void their keys (`core.keys`) at every edit. So the entry installs a listener
(`running.console`, which asks `forecast`); without one, lines are printed plainly.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Shows what is said."""

    def say(self, line: str) -> None:
        """Show one line."""
        ...

    def progress(
        self, items: Iterable[T], *, total: int, what: str, unit: str, items_each: int
    ) -> Iterator[T]:
        """Pass `items` on and show how far it is."""
        ...

    def begin(self, about_to: str) -> None:
        """A stage begins."""
        ...

    def expect(self, stage: str, missing: dict[str, Any]) -> None:
        """Show how long the work that is missing will take."""
        ...

    def done(self, made: str, where: Path) -> None:
        """A stage has ended."""
        ...

    def measure(self, training: str, step: int, values: Mapping[str, float]) -> None:
        """A training has taken `step` steps and shows `values`."""
        ...


class PlainListener:
    """Prints lines; shows no progress and expects nothing."""

    def say(self, line: str) -> None:
        """Print one line."""
        print(line, flush=True)

    def progress(self, items: Iterable[T], **_: object) -> Iterator[T]:
        """Pass `items` on."""
        yield from items

    def begin(self, about_to: str) -> None:
        """Print the first line."""
        self.say(about_to)

    def expect(self, stage: str, missing: dict[str, Any]) -> None:
        """Expect nothing."""

    def done(self, made: str, where: Path) -> None:
        """Print the last line."""
        self.say(f"made {made}: {where}")

    def measure(self, training: str, step: int, values: Mapping[str, float]) -> None:
        """Show nothing."""


_listener: Listener = PlainListener()
_training = ""  # what is being trained


def install(listener: Listener) -> None:
    """Let `listener` show what is said from here on."""
    global _listener
    _listener = listener


def _is_first() -> bool:
    """Say whether this is the first process of a run: the only one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Say one line."""
    if _is_first():
        _listener.say(line)


def progress(
    items: Iterable[T], *, total: int, what: str, unit: str, items_each: int = 1
) -> Iterator[T]:
    """Pass `items` on and show how far it is, how fast, and how long it will still take.

    Args:
        items: what to count.
        total: the number of items.
        what: what is being done ("training the UNet").
        unit: what one count is called ("step", "image").
        items_each: how many units one item stands for.
    """
    if not _is_first():
        return iter(items)
    return _listener.progress(items, total=total, what=what, unit=unit, items_each=items_each)


@contextmanager
def measuring(training: str) -> Iterator[None]:
    """Name the training whose values `measure` tells inside the block; blocks may nest."""
    global _training
    outer = _training
    _training = f"{outer}/{training}" if outer else training
    try:
        yield
    finally:
        _training = outer


def measure(step: int, **values: float) -> None:
    """Tell what a training shows after `step` steps, such as its loss; nothing is kept here."""
    if _training and _is_first():
        _listener.measure(_training, step, values)


class StageLog:
    """Says what a stage is about to do, and at its end what it made and where."""

    def __init__(self, stage: str, about_to: str):
        """Say what `stage` is about to do."""
        self.stage = stage
        if _is_first():
            _listener.begin(f"{stage}: {about_to}")

    def expect(self, **missing: Any) -> None:
        """Say how long the work that is missing will take, if its speed is known.

        Args:
            missing: what `forecast.missing_work` takes for this stage.
        """
        if _is_first():
            _listener.expect(self.stage, missing)

    def done(self, made: str, where: Path) -> None:
        """Say what was made."""
        if _is_first():
            _listener.done(made, where)
