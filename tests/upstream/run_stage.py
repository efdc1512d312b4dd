"""Runs the stage `upstream`, in a process of its own: huggingface_hub reads its variables once.

Run as `run_stage.py SETTINGS OUT`, a JSON list of what the section may say. Each is run in turn,
and a refusal printed as a line.
"""

import json
import sys
from pathlib import Path

from synthbridge.stages.upstream import upstream
from synthbridge.upstream.settings import UpstreamSettings

settings, out = sys.argv[1:]
for values in json.loads(settings):
    try:
        upstream(UpstreamSettings.model_validate(values), out=Path(out))
    except ValueError as error:
        print("refused:", error, flush=True)
