"""Curves while they grow: with SYNTHBRIDGE_LIVE=FOLDER, trainings write what they show by DVCLive.

Nothing there is an out of a stage or goes into a key; delete it when you like.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthbridge.running.console import Console

VARIABLE = "SYNTHBRIDGE_LIVE"


def make_listener() -> Console:
    """Return what shows a run: the terminal, and live curves where the user asks for them."""
    folder = os.environ.get(VARIABLE)
    return LiveConsole(Path(folder)) if folder else Console()


class LiveConsole(Console):
    """The terminal, and one DVCLive folder a training: FOLDER/<stage as DVC calls it>/<training>.

    Of several processes the first one writes.
    """

    def __init__(self, folder: Path):
        """Find DVCLive.

        Raises:
            ValueError: if it is not installed.
        """
        super().__init__()
        try:
            from dvclive.live import Live
        except ImportError:
            raise ValueError(
                f"{VARIABLE} is set, which needs DVCLive; pip install dvclive, or unset it"
            ) from None
        self.open, self.folder = Live, folder / os.environ.get("DVC_STAGE", "by-hand")
        self.training, self.live = "", None

    def measure(self, training: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve of a training."""
        live = self._live(training)
        live.step = step
        for name, value in values.items():
            live.log_metric(name, value)
        live.make_summary()

    def _live(self, training: str) -> Any:
        """Return the open folder of a training; one is open at a time."""
        if self.live is None or training != self.training:
            # No experiment, dvc.yaml or report of its own: the pipeline has these.
            self.training = training
            self.live = self.open(
                str(self.folder / training), save_dvc_exp=False, dvcyaml=None, report=None
            )
        return self.live
