"""Run a stage: `python src STAGE --options`, as dvc.yaml does, in one process or in several.

Commands are no stages: `python src profile NAME` makes a profile params.yaml, `python src study
NAME` runs experiments, `python src write_prompts` lets a language model write prompts, `python src
estimate` says what the settings will cost.
"""

import errno
import importlib
import os
import sys
import traceback
from typing import NoReturn

from synthbridge.memory import set_up_memory
from synthbridge.progress import say
from synthbridge.stages import launch, params, pipeline

COMMANDS = ("estimate", "profile", "study", "write_prompts")  # beside the stages


def main() -> int:
    """Check params.yaml as a whole, then run the stage; a user's error is one sentence."""
    stage, *arguments = sys.argv[1:] or [""]
    try:
        if stage in COMMANDS:
            importlib.import_module(f"synthbridge.stages.{stage}").main(arguments)
            return 0
        if stage not in params.STAGES:
            raise ValueError(f"'{stage}' is no stage; choose from {', '.join(params.STAGES)}")
        pipeline.check_params()
        launch.check_share(stage)
        if (status := launch.start_processes(stage, sys.argv)) is not None:
            return status
        importlib.import_module(f"synthbridge.stages.{stage}").main(arguments)
    except launch.ShareMade:
        say(f"{stage}: this share is made; a run without SYNTHBRIDGE_SHARE puts them together")
    except (ValueError, OSError) as error:
        return _refuse(stage, error)
    except RuntimeError as error:
        if not launch.has_lost_another(error):
            raise
        print(f"{stage}: this process stops, for another one has ended", file=sys.stderr)
        return launch.end_after_another()
    return 0


def _refuse(stage: str, error: Exception) -> int:
    """Print what is wrong; with SYNTHBRIDGE_TRACEBACK=1 also where."""
    if launch.wants_traceback():
        traceback.print_exc()
    way_out = ""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        way_out = "; free some space and run it again: finished work is kept"
    print(f"{stage}: {error}{way_out} (SYNTHBRIDGE_TRACEBACK=1 shows where)", file=sys.stderr)
    return 1


def _leave(status: int) -> NoReturn:
    """End the process at once: taking torch apart again would last a second, for nothing."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    set_up_memory()
    _leave(main())
