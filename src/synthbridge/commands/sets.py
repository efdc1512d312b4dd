"""Command `sets`: brings the sets of params.yaml into dvc.yaml.

    python src sets     # after a set was added to generated_sets or retrieved_sets, or taken out

`sets` in params.yaml becomes both lists together, and `probe` and `report` in dvc.yaml depend on
just these sets. Comments and everything else stay as they are.
"""

import argparse
from pathlib import Path

from ruamel.yaml import YAML

from synthbridge.core.files import whole_file, write_text
from synthbridge.core.log import say
from synthbridge.params import Params, read_params
from synthbridge.pipeline import PIPELINE, fit

PARAMS = Path("params.yaml")


def sets() -> None:
    """Write `sets` in params.yaml, and the lines of each set in dvc.yaml.

    Raises:
        ValueError: if params.yaml is wrong; then neither file changes.
    """
    yaml = YAML()
    values = yaml.load(PARAMS)
    wanted = [*values["generated_sets"], *values["retrieved_sets"]]
    before = PARAMS.read_text(encoding="utf-8")
    if values["sets"] != wanted:
        values["sets"][:] = wanted
        with whole_file(PARAMS) as partial:
            yaml.dump(values, partial)
    try:
        params: Params = read_params()
    except ValueError:
        write_text(PARAMS, before)
        raise
    write_text(PIPELINE, fit(PIPELINE.read_text(encoding="utf-8"), params))
    say(f"the pipeline has the sets {', '.join(params.sets) or '(none)'}; next: dvc exp run")


def main(arguments: list[str]) -> None:
    """Take no argument."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("sets", description=__doc__, formatter_class=formatter)
    parser.parse_args(arguments)
    sets()
