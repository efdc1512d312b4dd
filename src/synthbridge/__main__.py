"""The entry: `python src STAGE --options`, as dvc.yaml runs it, or `python src COMMAND`.

Installed, the same is `synthbridge STAGE` or `python -m synthbridge STAGE`.
"""

import errno
import importlib
import os
import signal
import sys
import traceback
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from synthbridge import pipeline
from synthbridge.core import log, shares
from synthbridge.running import launch
from synthbridge.running.live import make_listener
from synthbridge.running.memory import set_up_memory

STAGES = {
    "check": "every data set has a folder, before anything begins",
    "upstream": "the pool and the pretrained models: the miniature's, or the hub's",
    "prepare": "a real data set becomes shards of its splits",
    "invert": "real images become a style token, words or images to start from",
    "plan": "a set's volume and prompts become one small file a block",
    "generate": "the prompts of a block become shards of images",
    "retrieve": "a pool of captioned images becomes a set of real images",
    "sift": "what of a set trains, where a classifier or chance decides it",
    "examine": "what of a set trains, and how far it is from the real images",
    "select": "held-out images choose the learning rates",
    "bridge": "stage one: a set becomes stage-one models",
    "finetune": "stage two: a start and real images become final models",
    "tune_clip": "CLIP without training, and its classifier tuned",
    "probe": "LEEP, LogME and fixed features of all models",
    "report": "tables, plots, verdicts and one page",
    "deliver": "the final model that held-out images prefer, for anyone to use",
}
DRAWING = ("invert", "plan", "generate")  # they ask something of the generator
COMMANDS = {
    "estimate": "say what the settings will cost",
    "export": "a set or the model in a layout that others read",
    "pin": "write the hub's commits of today into params.yaml",
    "predict": "ask the delivered model about photographs",
    "profile": "make a profile params.yaml",
    "start": "from a folder of photographs to settings that fit them",
    "sets": "add sets, take them out: params.yaml and dvc.yaml",
    "study": "run the papers' figures and tables by name",
    "write_prompts": "let a language model write prompts",
}
# They read or write params.yaml, dvc.yaml and the profiles. Others name all that they read.
IN_A_CLONE = ("estimate", "export", "pin", "profile", "start", "sets", "study")


def main() -> int:
    """Check params.yaml as a whole, then run the stage; a user's error is one sentence."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    try:
        log.install(make_listener())
        if name in COMMANDS:
            _check_clone(name, arguments)
            importlib.import_module(f"synthbridge.commands.{name}").main(arguments)
        elif name in STAGES:
            return _run_stage(name, arguments)
        else:
            raise ValueError(
                f"'{name}' is no stage ({', '.join(STAGES)}) and no command ({', '.join(COMMANDS)})"
            )
    except (ValueError, OSError) as error:
        return _refuse(name, error)
    except KeyboardInterrupt:
        return _stop(name)
    return 0


def _usage() -> str:
    """List the stages and the commands."""
    lines = [
        "usage: python src STAGE|COMMAND [--help]",
        "",
        "commands, for people (--help shows examples):",
    ]
    lines += [f"  {name:14}{what}" for name, what in COMMANDS.items()]
    lines += ["", "stages, which dvc.yaml runs (dvc repro, dvc exp run):"]
    return "\n".join([*lines, *(f"  {name:14}{what}" for name, what in STAGES.items())])


def _check_clone(command: str, arguments: list[str]) -> None:
    """Refuse a command that needs the pipeline where there is none.

    Raises:
        ValueError: naming the folder.
    """
    has_own = any(each.partition("=")[0] == "--params" for each in arguments)  # of `estimate`
    if command not in IN_A_CLONE or _wants_help(arguments) or has_own:
        return
    if not pipeline.PIPELINE.is_file():
        raise ValueError(
            f"{Path.cwd()} holds no {pipeline.PIPELINE}; run it in a clone of the repository, in "
            "the folder of dvc.yaml and params.yaml"
        )


def _wants_help(arguments: list[str]) -> bool:
    return "-h" in arguments or "--help" in arguments


def _real_folder(arguments: list[str]) -> Path | None:
    """Return the prepared data set that a stage reads; None: it reads none."""
    return next((Path(path) for flag, path in pairwise(arguments) if flag == "--real"), None)


def _run_stage(stage: str, arguments: list[str]) -> int:
    """Run a stage here, or start the processes that run it; return an exit status."""
    wants_help = _wants_help(arguments)
    notes = [] if wants_help else pipeline.check_params(_real_folder(arguments))
    launch.check_share(stage)
    if stage in DRAWING and not wants_help:
        pipeline.check_generator()
    if (status := launch.start_processes(stage, sys.argv)) is not None:
        return status
    if stage in ("upstream", "select"):  # the first of all, and the first that trains on shots
        for note in notes:
            log.say(note)
    try:
        importlib.import_module(f"synthbridge.stages.{stage}").main(arguments)
        if stage == "upstream":  # before an hour goes into other stages
            for fault in pipeline.generator_faults():
                log.say(f"invert will stop: {fault}")
    except shares.ShareMade:
        log.say(f"{stage}: this share is made; a run without SYNTHBRIDGE_SHARE puts them together")
    except RuntimeError as error:
        if not launch.has_lost_another(error):
            raise
        print(f"{stage}: this process stops, for another one has ended", file=sys.stderr)
        return launch.end_after_another()
    return 0


def _refuse(name: str, error: Exception) -> int:
    """Print what is wrong; with SYNTHBRIDGE_TRACEBACK=1 also where."""
    if launch.wants_traceback():
        traceback.print_exc()
    way_out = ""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        way_out = "; free some space and run it again: finished work is kept"
    said = f"{name}: {error}{way_out}"
    between = "\n" if "\n" in said else " "  # several faults stand a line each
    print(f"{said}{between}(SYNTHBRIDGE_TRACEBACK=1 shows where)", file=sys.stderr)
    return 1


def _stop(name: str) -> int:
    """Say that a person stopped it, and end as Ctrl-C ends a process.

    A shell calls that status 130 and leaves its loop, and DVC takes the stage for failed; an exit
    with 130 would let the loop go on.
    """
    if launch.wants_traceback():
        traceback.print_exc()
    if "RANK" not in os.environ:  # of several processes, the one that started them
        kept = "; finished work is kept, the next run resumes there" if name in STAGES else ""
        print(f"\n{name}: stopped{kept}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    return 128 + signal.SIGINT  # where the signal is blocked


def run() -> NoReturn:
    """Run, and end the process at once: taking torch apart would last a second, for nothing."""
    set_up_memory()
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
