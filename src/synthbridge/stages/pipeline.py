"""dvc.yaml beside params.yaml: a matrix does not reach into a list of deps, so some stand there."""

import os
import re
from pathlib import Path

from synthbridge.stages.params import Params, read_params


def check_params() -> None:
    """Check params.yaml, and that the pipeline reads the sets that it names and no other.

    A study's experiment makes some stages only, and may have sets that `probe` does not read.

    Raises:
        ValueError: if params.yaml is wrong or dvc.yaml does not read just its sets.
    """
    params = read_params()
    if "SYNTHBRIDGE_STUDY" not in os.environ:
        check_pipeline(params, Path("dvc.yaml").read_text(encoding="utf-8"))


def check_pipeline(params: Params, pipeline: str) -> None:
    """Check that `pipeline`, the text of dvc.yaml, reads the sets that `params` names, no other.

    Raises:
        ValueError: if it does not.
    """
    for stage in ("probe", "report"):
        text = _stage_text(pipeline, stage)
        for name in (*params.synthetic, *params.retrieved):
            is_read = re.search(rf"/{name}\b", text) is not None
            if name in params.sets and not is_read:
                raise ValueError(
                    f"params.yaml: sets holds '{name}', but stage {stage} in dvc.yaml does not "
                    f"read it; copy the lines of another set there and rename them to {name}"
                )
            if name not in params.sets and is_read:
                raise ValueError(
                    f"params.yaml: sets lacks '{name}', which stage {stage} in dvc.yaml reads; "
                    "add it, or remove its lines there"
                )


def _stage_text(pipeline: str, stage: str) -> str:
    """Cut one stage out of dvc.yaml: from its name to the next line as little indented."""
    match = re.search(rf"^  {stage}:\n((?:(?:   .*|\s*)\n)*)", pipeline, re.MULTILINE)
    return match.group(1) if match else ""
