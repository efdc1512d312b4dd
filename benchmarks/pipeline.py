"""The pipeline's own cost: DVC, and the start of a process.

    python benchmarks/pipeline.py            needs everything up to date: run `dvc repro` first

R1  seconds that DVC takes for each stage of a `dvc repro` that runs nothing, and seconds from the
    start of a training stage to its end where all its work is done already.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import measure

DVC = [sys.executable, "-m", "dvc"]
# `select` imports what every training stage does, and starts as many processes.
STAGE = [
    sys.executable, "src", "select", "--real", "data/real/digits",
    "--backbone", "data/upstream/backbone", "--out",
]  # fmt: skip


def run(command: list[str]) -> str:
    """Run a command to its end and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    assert "up to date" in run([*DVC, "repro"]), "run `dvc repro` first"
    num_stages = len(run([*DVC, "stage", "list", "--name-only"]).split())
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "rates.json")
        seconds = measure.take_turns(
            {
                "repro": lambda: run([*DVC, "repro"]),
                "dvc": lambda: run([*DVC, "--version"]),
                "stage": lambda: run([*STAGE, out]),
            },
            rounds=rounds,
        )
    each = (seconds["repro"] - seconds["dvc"]) / num_stages
    shared = {"seconds": seconds, "num_stages": num_stages}
    rows = {
        "R1 DVC": {"what": "seconds a stage, at most", "ratio": each, "wanted": 0.3, **shared},
        "R1 start": {
            "what": "seconds of a stage whose work is done, at most",
            "ratio": seconds["stage"],
            "wanted": 4.0,
            **shared,
        },
    }
    measure.save_ratios("pipeline", rows)


if __name__ == "__main__":
    main()
