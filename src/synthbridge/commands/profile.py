"""Command `profile`: a profile becomes params.yaml, and dvc.yaml reads the sets that it names.

    python src profile paper aircraft                    # profiles/paper.yaml, all real images
    python src profile paper cars food --shots 1 4 full
    python src profile paper cars food --table5          # with the paper's own learning rate
    python src profile paper aircraft --stage-one-epochs 10   # not 150, the paper's
    python src profile paper aircraft --gpu rtx4090 --hours 8 # as large as fits 8 hours of one GPU

No stage: it runs once, before them. DVC has no way to run on another file than params.yaml; its
Hydra composition writes params.yaml too, but overwrites later changes by hand, drops comments and
cannot reach the lists of deps in dvc.yaml.
"""

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from synthbridge.commands.pin import pin
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.editing import load, with_copy, with_items, with_only, with_value, without
from synthbridge.forecast.budget import Scale, card_speeds, find_card, fit_hours, scaled_settings
from synthbridge.forecast.estimates import count_work
from synthbridge.forecast.sizes import read_sizes
from synthbridge.params import PARAMS, Params, read_shots
from synthbridge.pipeline import PIPELINE, fit
from synthbridge.sources.named.facts import FACTS

T = TypeVar("T")

PROFILES = Path("profiles")
LEARNED_SET = "dsi_full"  # of a profile: what --shots repeats
LARGEST_VOLUME = 3000  # images a class: the most that Bridged draws; dvc.yaml gets blocks for it


def profile(
    name: str,
    datasets: Sequence[str],
    shots: Sequence[str],
    table5: bool,
    stage_one_epochs: int | None = None,
    budget: tuple[str, float] | None = None,
) -> None:
    """Write params.yaml from profiles/NAME.yaml, and its sets and blocks into dvc.yaml.

    Args:
        name: of the profile.
        datasets: groups below `data` in the profile; none: those that it names.
        shots: numbers or "full", each with a set of its own for dataset style inversion; none:
            those that the profile names.
        table5: take the learning rate that the paper chose for the data sets, on test images.
        stage_one_epochs: of every stage-one model; None: as the profile says.
        budget: a GPU's name or memory, and the hours of it that the run may take; None: as large
            as the profile says.

    Raises:
        ValueError: if something is wrong with them, nothing fits the hours, or git has not kept
            params.yaml or dvc.yaml.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise ValueError(f"'{name}' is no profile; choose from {known}")
    check_settings(Params, read_yaml(path), "", file=str(path))
    text = compose(path.read_text(encoding="utf-8"), datasets, shots, table5, stage_one_epochs)
    if budget:
        text = _within(text, path, *budget)
    params = check_settings(Params, load(text), "", file=str(path))
    pipeline = fit(PIPELINE.read_text(encoding="utf-8"), params, largest_volume=LARGEST_VOLUME)
    refuse_to_lose()
    PARAMS.write_text(text, encoding="utf-8")
    PIPELINE.write_text(pipeline, encoding="utf-8")
    words = ", ".join(str(shots) for shots in params.shots)
    say(f"params.yaml: profile {name} for {', '.join(params.datasets)}, shots {words}")
    say(f"dvc.yaml: probe, report and deliver read the sets {', '.join(params.sets)}")
    _say_cost(params)


def compose(
    text: str,
    datasets: Sequence[str],
    shots: Sequence[str],
    table5: bool,
    stage_one_epochs: int | None = None,
) -> str:
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
        metrics = {name: FACTS[name].metric for name in datasets}
        text = with_value(text, "report.measure", _shared("report.measure", metrics))
        text = with_items(text, "datasets", datasets)
        text = with_only(text, "data", datasets)
    if table5:
        if not datasets:
            raise ValueError("--table5 is of the ten data sets; name one")
        rates = {name: FACTS[name].learning_rate for name in datasets}
        rate = _shared("the learning rate", rates)
        text = with_items(text, "real_leg.learning_rates", [rate])
        text = with_value(text, "real_leg.select_on", "test")  # as the paper chose it
        for name in _stage_one(text):
            text = with_value(text, f"stage_one.{name}.learning_rate", rate)
    if stage_one_epochs is not None:
        for name in _stage_one(text):
            text = with_value(text, f"stage_one.{name}.num_epochs", stage_one_epochs)
    if shots:
        text = _take_shots(text, [read_shots(count) for count in shots])
    return text


def _within(text: str, path: Path, gpu: str, hours: float) -> str:
    """Return a profile at the largest scale that fits the hours, and say what it gives up."""
    name, _ = find_card(gpu)
    speeds = card_speeds(name)
    sizes = read_sizes(check_settings(Params, load(text), "", file=str(path)))
    scale, taken = fit_hours(load(text), sizes, speeds, hours)
    say(f"about {taken:.1f} h on one {speeds.device}, by {speeds.basis} speeds")
    say(f"less than the paper (in brackets): {scale.gives_up()}")
    return with_scale(text, scale)


def with_scale(text: str, scale: Scale) -> str:
    """Return a profile at a scale: volume, steps, epochs and seeds."""
    for key, value in scaled_settings(scale, load(text)).items():
        text = (with_items if isinstance(value, list) else with_value)(text, key, value)
    return text


def _stage_one(text: str) -> list[str]:
    return list(load(text)["stage_one"])


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


def _take_shots(text: str, shots: Sequence[int | str]) -> str:
    """Give each number of shots a set of its own for dataset style inversion.

    Raises:
        ValueError: if the profile has no group of such a set that could be repeated.
    """
    values = load(text)
    if LEARNED_SET not in values["synthetic"]:
        raise ValueError(
            f"the profile has no group synthetic.{LEARNED_SET}, which --shots repeats for each "
            "number; add one as in profiles/paper.yaml"
        )
    generated = ["template", *(f"dsi_{count}" for count in shots)]
    text = with_items(text, "shots", shots)
    text = with_items(text, "generated_sets", generated)
    text = with_value(text, "report.primary.shots", shots[-1])
    text = with_items(text, "sets", [*generated, *values["retrieved_sets"]])
    spare = last = f"{LEARNED_SET}_"  # its group, until the others stand there
    text = without(with_copy(text, f"synthetic.{LEARNED_SET}", spare), f"synthetic.{LEARNED_SET}")
    for count in shots:
        text = with_copy(text, f"synthetic.{last}", f"dsi_{count}")
        text = with_value(text, f"synthetic.dsi_{count}.shots", count)
        last = f"dsi_{count}"
    return without(text, f"synthetic.{spare}")


def _say_cost(params: Params) -> None:
    """Say how long each stage one is, and how much of all training that makes.

    Raises:
        ValueError: if the size of a data set is known nowhere.
    """
    for dataset, size in read_sizes(params).items():
        for name, settings in params.stage_one.items():
            steps = settings.steps(size.num_classes, params.training.batch_size)
            length = f"{settings.num_epochs} epochs of {settings.images_per_class:,} images a class"
            say(f"stage one '{name}' of {dataset}: {length}: {steps:,} gradient steps")
    steps = count_work(params).totals()["gradient_step"]
    say(f"{steps:,.0f} gradient steps in all; hours and GPUs: python src estimate")


def refuse_to_lose() -> None:
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
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src profile", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("name", help="of profiles/NAME.yaml")
    parser.add_argument("datasets", nargs="*", help="of the ten data sets by name")
    parser.add_argument("--shots", nargs="+", default=[], help="numbers of images a class, or full")
    parser.add_argument(
        "--table5", action="store_true", help="with the paper's learning rate, chosen on test"
    )
    parser.add_argument(
        "--stage-one-epochs", type=int, help="of each stage one (the paper, and default: 150)"
    )
    parser.add_argument("--gpu", help="its name or memory: rtx4090, l4, 24GB; with --hours")
    parser.add_argument(
        "--hours", type=float, help="of that GPU: the profile shrinks until it fits"
    )
    args = parser.parse_args(arguments)
    if (args.gpu is None) != (args.hours is None):
        raise ValueError("--gpu and --hours belong together; give both, or neither")
    budget = (args.gpu, args.hours) if args.gpu else None
    datasets, shots = list(dict.fromkeys(args.datasets)), list(dict.fromkeys(args.shots))
    profile(args.name, datasets, shots, args.table5, args.stage_one_epochs, budget)
    try:
        pin()
    except ValueError as error:  # the profile is written: its commits can wait
        say(f"not pinned yet: {error}")
        say("later: python src pin")
    say("next: commit params.yaml and dvc.yaml, then dvc repro")
