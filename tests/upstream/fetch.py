"""Fetches one hub model, in a process of its own: huggingface_hub reads its variables once.

Run as `fetch.py PART REPOSITORY REVISION OUT`; prints where the model lies, or the refusal.
"""

import sys
from pathlib import Path

from synthbridge.upstream import layouts
from synthbridge.upstream.hub import Wanted, fetch_models

part, repository, revision, out = sys.argv[1:]
layout = {"generator": layouts.GENERATOR, "clip": layouts.CLIP, "backbone": layouts.BACKBONE}[part]
model = Wanted(f"upstream.{part}", repository, revision or None, layout)
try:
    fetch_models([model], Path(out))
except ValueError as error:
    sys.exit(str(error))
print(model.path)
