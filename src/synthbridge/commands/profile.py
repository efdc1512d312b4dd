"""Command `profile`: a profile becomes params.yaml, and dvc.yaml reads the sets that it names.

    python src profile paper aircraft                    # profiles/paper.yaml, all real images
    python src profile paper cars food --shots 1 4 full
    python src profile paper cars food --table5          # with the paper's own learning rate

No stage: it runs once, before them. DVC has no way to run on another file than params.yaml; its
Hydra composition writes params.yaml too, but overwrites later changes by hand, drops comments and
cannot reach the lists of deps in dvc.yaml.
"""

import argparse
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML

from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.params import Params
from synthbridge.pipeline import PIPELINE, fit
from synthbridge.sources.named.facts import FACTS

T = TypeVar("T")

PROFILES, PARAMS = Path("profiles"), Path("params.yaml")
LARGEST_VOLUME = 3000  # images a class: the most that Bridged draws; dvc.yaml gets blocks for it


def profile(name: str, datasets: Sequence[str], shots: Sequence[str], table5: bool) -> None:
    """Write params.yaml from profiles/NAME.yaml, and its sets and blocks into dvc.yaml.

    Args:
        name: of the profile.
        datasets: groups below `data` in the profile; none: those that it names.
        shots: numbers or "full", each with a set of its own for dataset style inversion; none:
            those that the profile names.
        table5: take the learning rate that the paper chose for the data sets, on test images.

    Raises:
        ValueError: if something is wrong with them, or git has not kept params.yaml or dvc.yaml.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise ValueError(f"'{name}' is no profile; choose from {known}")
    check_settings(Params, read_yaml(path), "", file=str(path))
    text = compose(path.read_text(encoding="utf-8"), datasets, shots, table5)
    params = check_settings(Params, YAML(typ="safe").load(text), "", file=str(path))
    pipeline = fit(PIPELINE.read_text(encoding="utf-8"), params, largest_volume=LARGEST_VOLUME)
    _refuse_to_lose()
    PARAMS.write_text(text, encoding="utf-8")
    PIPELINE.write_text(pipeline, encoding="utf-8")
    words = ", ".join(str(shots) for shots in params.shots)
    say(f"params.yaml: profile {name} for {', '.join(params.datasets)}, shots {words}")
    say(f"dvc.yaml: probe and report read the sets {', '.join(params.sets)}")
    say("next: commit both, then dvc exp run")


def compose(text: str, datasets: Sequence[str], shots: Sequence[str], table5: bool) -> str:
    """Return a profile for these data sets and shots, or, where there is none, as it is.

    Raises:
        ValueError: if a data set is none of the ten, or one setting cannot serve them all.
    """
    for dataset in datasets:
        if dataset not in FACTS:
            raise ValueError(
                f"'{dataset}' is none of {', '.join(FACTS)}; for your own data leave it out, then "
                "add its group to params.yaml (docs/own-data.md)"
            )
    if datasets:
        metric = _shared("report.measure", {name: FACTS[name].metric for name in datasets})
        text = _with_list(text, "datasets", datasets)
        text = _replace(text, r"^  measure: \w+", f"  measure: {metric}")
    if table5:
        if not datasets:
            raise ValueError("--table5 is of the ten data sets; name one")
        rates = {name: FACTS[name].learning_rate for name in datasets}
        text = _with_list(text, "  learning_rates", [_shared("the learning rate", rates)])
        text = _replace(text, r"^  select_on: \w+", "  select_on: test")  # as the paper chose it
    if shots:
        text = _with_list(text, "shots", shots)
        generated = ["template", *(f"dsi_{count}" for count in shots)]
        retrieved = YAML(typ="safe").load(text)["retrieved_sets"]
        text = _with_list(text, "generated_sets", generated)
        text = _with_list(text, "sets", [*generated, *retrieved])
        group = re.search(r"(?m)^  dsi_full:\n(?:    .*\n)+", text)
        groups = "".join(_for_shots(group[0], count) for count in shots) if group else ""
        text = _replace(text, r"^  dsi_full:\n(?:    .*\n)+", groups)
    return text


def _replace(text: str, pattern: str, new: str) -> str:
    """Replace the one place that `pattern` finds.

    Raises:
        ValueError: if there is none, or more: the profile is not laid out as profiles/paper.yaml.
    """
    text, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(
            f"the profile has {count} places that look like '{pattern}', and one is needed; lay it "
            "out as profiles/paper.yaml"
        )
    return text


def _shared(setting: str, by_dataset: Mapping[str, T]) -> T:
    """Return the value that all data sets have in the paper.

    Raises:
        ValueError: if it is not one.
    """
    if len(set(by_dataset.values())) > 1:
        values = ", ".join(f"{value} for {dataset}" for dataset, value in by_dataset.items())
        raise ValueError(
            f"{setting} is one for all data sets of a run, but the paper has {values}; "
            "make a run for each value"
        )
    return next(iter(by_dataset.values()))


def _with_list(text: str, name: str, values: Sequence[object]) -> str:
    """Replace the items of a list; its heading keeps its comment."""
    indent = " " * (len(name) - len(name.lstrip()))
    heading = re.search(rf"(?m)^{name}:.*\n", text)
    items = "".join(f"{indent}- {value}\n" for value in values)
    return _replace(text, rf"^{name}:.*\n(?:{indent}- .*\n)+", f"{heading and heading[0]}{items}")


def _for_shots(group: str, count: str) -> str:
    return group.replace("dsi_full:", f"dsi_{count}:").replace("shots: full", f"shots: {count}")


def _refuse_to_lose() -> None:
    """Refuse to overwrite what git has not kept; elsewhere than in a repository, do not ask."""
    command = ("git", "status", "--porcelain", "--", str(PARAMS), str(PIPELINE))
    changed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if changed:
        raise ValueError(
            f"{' and '.join(changed[1::2])} would be overwritten, and git has not kept the "
            "changes; commit them, or take them back with 'git checkout params.yaml dvc.yaml'"
        )


def main(arguments: list[str] | None = None) -> None:
    """Take the profile's name, data sets and shots."""
    parser = argparse.ArgumentParser(prog="python src profile")
    parser.add_argument("name", help="of profiles/NAME.yaml")
    parser.add_argument("datasets", nargs="*", help="of the ten data sets by name")
    parser.add_argument("--shots", nargs="+", default=[], help="numbers of images a class, or full")
    parser.add_argument(
        "--table5", action="store_true", help="with the paper's learning rate, chosen on test"
    )
    args = parser.parse_args(arguments)
    datasets, shots = list(dict.fromkeys(args.datasets)), list(dict.fromkeys(args.shots))
    profile(args.name, datasets, shots, args.table5)
