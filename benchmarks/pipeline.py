"""The pipeline's own cost: DVC, and the start of a process.

    python benchmarks/pipeline.py            needs everything up to date: run `dvc repro` first

R1  seconds that DVC takes for each stage of a `dvc repro` that runs nothing, and seconds from the
    start of a stage to its end where all its work is done already: of one that draws or one that
    trains, whichever takes longer. `examine` stands beside them: its embeddings are done, but it
    takes the gap anew. Stages start as many processes as they do for their user.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure

DVC = [sys.executable, "-m", "dvc"]
REAL, SET = "data/real/digits", "digits/template"
# One of each kind, by what it imports: a generator's stage, one with CLIP, one that trains.
STAGES = {
    "generate": f"--plan data/plan/{SET}/b0.json --style data/styles/{SET} "
    "--generator data/upstream/generator --out out",
    "examine": f"--set template --real {REAL} --clip data/upstream/clip "
    f"--blocks data/sets/{SET} --num-blocks 3 --out out --metric metric.json",
    "select": f"--real {REAL} --backbone data/upstream/backbone --out rates.json",
}
OUTS = ("--out", "--metric")


def run(command: list[str]) -> str:
    """Run a command to its end and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def stage_command(name: str, folder: Path) -> list[str]:
    """Return the command of a stage, with its outs in `folder`."""
    arguments = STAGES[name].split()
    for flag in set(OUTS) & set(arguments):
        place = arguments.index(flag) + 1
        arguments[place] = str(folder / name / arguments[place])
    return [sys.executable, "src", name, *arguments]


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    assert "up to date" in run([*DVC, "repro"]), "run `dvc repro` first"
    num_stages = len(run([*DVC, "stage", "list", "--name-only"]).split())
    with tempfile.TemporaryDirectory() as name:
        commands = {
            "repro": [*DVC, "repro"],
            "dvc": [*DVC, "--version"],
            **{stage: stage_command(stage, Path(name)) for stage in STAGES},
        }
        arms = {arm: partial(run, command) for arm, command in commands.items()}
        seconds = measure.take_turns(arms, rounds=rounds)
    each = (seconds["repro"] - seconds["dvc"]) / num_stages
    shared = {"seconds": seconds, "num_stages": num_stages}
    rows = {
        "R1 DVC": {"what": "seconds a stage, at most", "ratio": each, "wanted": 0.3, **shared},
        "R1 start": {
            "what": "seconds of a stage whose work is done, at most",
            "ratio": max(seconds["generate"], seconds["select"]),
            "wanted": 4.0,
            **shared,
        },
        "R1 examine": {
            "what": "seconds of `examine` whose embeddings are done",
            "ratio": seconds["examine"],
            "wanted": None,
            **shared,
        },
    }
    measure.save_ratios("pipeline", rows)


if __name__ == "__main__":
    main()
