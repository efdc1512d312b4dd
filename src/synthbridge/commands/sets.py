"""Command `sets`: brings the sets of params.yaml into dvc.yaml.

    python src sets     # after a set was added to generated_sets or retrieved_sets, or taken out

`sets` in params.yaml becomes both lists together, and `probe`, `report` and `deliver` in dvc.yaml
depend on just these sets. Comments and everything else stay as they are.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from synthbridge.core.files import write_text
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.params import Params
from synthbridge.pipeline import PIPELINE, fit

PARAMS = Path("params.yaml")


def sets() -> None:
    """Write `sets` in params.yaml, and the lines of each set in dvc.yaml.

    Raises:
        ValueError: if params.yaml is wrong; then neither file changes.
    """
    values = read_yaml(PARAMS)
    text = PARAMS.read_text(encoding="utf-8")
    old, *parts = (values.get(name) for name in ("sets", "generated_sets", "retrieved_sets"))
    if isinstance(old, list):  # else the check says what is wrong
        values["sets"] = [name for part in parts if isinstance(part, list) for name in part]
    params = check_settings(Params, values, "")
    pipeline = fit(PIPELINE.read_text(encoding="utf-8"), params)
    write_text(PARAMS, with_sets(text, params.sets))
    write_text(PIPELINE, pipeline)
    say(f"the pipeline has the sets {', '.join(params.sets) or '(none)'}; next: dvc exp run")


def with_sets(text: str, names: Sequence[str]) -> str:
    """Return params.yaml with these names in `sets`; every other character stays.

    Args:
        text: of params.yaml.
        names: of the sets.
    """
    # Not loaded and dumped: ruamel loses what stands behind a list that changes.
    key, items = next(pair for pair in YAML().compose(text).value if pair[0].value == "sets")
    if [item.value for item in items.value] == list(names):
        return text
    if items.flow_style:
        start, end = items.start_mark.index, items.end_mark.index
        return text[:start] + f"[{', '.join(names)}]" + text[end:]
    colon = text.index(":", key.end_mark.index) + 1
    rows = text.splitlines(keepends=True)
    first, last = key.end_mark.line + 1, items.value[-1].end_mark.line
    after = "".join(rows[last + 1 :])
    if not names:
        return text[:colon] + " []" + text[colon : sum(map(len, rows[:first]))] + after
    lines: dict[str, str] = {}  # of each item, with its comments
    for item in items.value:
        lines[item.value] = "".join(rows[first : item.end_mark.line + 1])
        first = item.end_mark.line + 1
    dash = " " * (items.value[0].start_mark.column - 2) + "- "
    listed = "".join(lines.get(name, f"{dash}{name}\n") for name in names)
    return "".join(rows[: key.end_mark.line + 1]) + listed + after


def main(arguments: list[str]) -> None:
    """Take no argument."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("sets", description=__doc__, formatter_class=formatter)
    parser.parse_args(arguments)
    sets()
