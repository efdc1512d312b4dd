"""How processes share the trainings of a stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from accelerate import Accelerator

from synthbridge.core.log import StageLog, progress
from synthbridge.core.processes import missing_units, my_share, wait_for_units
from synthbridge.training.team import Team, form_team


class Training(Protocol):
    """One model to train."""

    @property
    def path(self) -> Path:
        """Return where it lies in the work folder once it is whole."""
        ...


T = TypeVar("T", bound=Training)


def share_trainings(
    accelerator: Accelerator,
    trainings: Sequence[T],
    *,
    what: str,
    unit: str,
    log: StageLog,
    **about: Any,
) -> Iterator[tuple[T, Team]]:
    """Yield what this process has to train, each with the processes that train it together.

    It leaves out what lies in the work folder already, and ends when every process is done. First
    `log` says how long the missing ones will take, for which a forecast needs `about`.
    """
    missing = missing_units(accelerator, trainings, _is_done)
    log.expect(accelerator=accelerator, trainings=missing, **about)
    team = form_team(accelerator, len(missing))
    mine = missing if team.size > 1 else my_share(accelerator, missing)
    for training in progress(mine, total=len(mine), what=what, unit=unit):
        yield training, team
    wait_for_units(accelerator, trainings, _is_done)


def _is_done(training: Training) -> bool:
    return training.path.is_dir()
