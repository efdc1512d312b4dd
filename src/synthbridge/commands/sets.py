"""Command `sets`: adds sets or takes them out, in params.yaml and in dvc.yaml.

    python src sets add dsi_8                 # its group is a copy of dsi_4's, with 8 shots
    python src sets add dsi --shots 8 16 full # three such sets
    python src sets add lora_4                # the generator tuned on 4 shots, as lora_class_4
    python src sets add mine --like template
    python src sets add hard_4 --like dsi_4 --select entropy --keep 0.5
    python src sets remove dsi_1              # its group stays: `add` brings it back
    python src sets none                      # real images alone, with their controls
    python src sets                           # after an edit by hand: dvc.yaml follows

A set made from k shots serves runs with k shots, so `add` puts them into `shots` too. Comments and
everything else stay as they are.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from synthbridge.core.files import write_text
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.data.manifests import Shots
from synthbridge.editing import load, with_copy, with_items, with_value
from synthbridge.params import PARAMS, Params, check_primary, read_shots
from synthbridge.pipeline import PIPELINE, check_blocks, fit

TUNED = {"lora": "dataset", "lora_class": "class"}  # names of sets -> what each LoRA is of
KINDS = {"synthetic": "generated_sets", "retrieved": "retrieved_sets"}  # groups -> list of names


def sets(edit: Callable[[str], str] = str) -> None:
    """Change params.yaml, write its `sets`, and the lines of each set in dvc.yaml.

    Args:
        edit: changes the text of params.yaml; without it a person has done so.

    Raises:
        ValueError: if params.yaml is or becomes wrong; then neither file changes.
    """
    read_yaml(PARAMS)
    text = edit(PARAMS.read_text(encoding="utf-8"))
    values = load(text)
    lists = [values.get(name) for name in ("sets", *KINDS.values())]
    if all(isinstance(each, list) for each in lists):  # else the check says what is wrong
        values["sets"] = [name for part in lists[1:] for name in part]
    params = check_settings(Params, values, "")
    pipeline = fit(PIPELINE.read_text(encoding="utf-8"), params)
    check_blocks(params, load(pipeline))
    write_text(PARAMS, with_items(text, "sets", params.sets))
    write_text(PIPELINE, pipeline)
    for note in params.notes():
        say(note)
    try:
        check_primary(params)
    except ValueError as error:  # a person chooses what the verdict is about
        say(f"before the next run: {error}")
    say(f"the pipeline has the sets {', '.join(params.sets) or '(none)'}; next: dvc repro")


def add(text: str, name: str, *, like: str | None = None, shots: Sequence[Shots] = ()) -> str:
    """Return params.yaml with one more set, or with one for each number of shots.

    Args:
        text: of params.yaml.
        name: of the set, or with `shots` without them.
        like: the set whose group is copied; None: one of the same name but for its shots.
        shots: numbers of real images a class, each a set of its own.

    Raises:
        ValueError: if the name stands for nothing that is clear.
    """
    for added in [f"{name}_{count}" for count in shots] or [name]:
        text = _add_one(text, added, like)
    return text


def select(text: str, name: str, how: str, fraction: float | None) -> str:
    """Return params.yaml with a drawn set of which a part trains.

    Args:
        text: of params.yaml.
        name: of the set.
        how: its `select`.
        fraction: of each class's images that trains; None: as its group says.

    Raises:
        ValueError: if the set is not drawn.
    """
    values = load(text)
    if _kind_of(values, name) != "synthetic":
        raise ValueError(f"'{name}' is not drawn: of what is drawn --select chooses what trains")
    where = f"synthetic.{name}"
    text = with_value(text, f"{where}.select", how)
    if how == "entropy" and not values["synthetic"][name].get("scored_by"):
        text = with_value(text, f"{where}.scored_by", next(iter(values["stage_one"])))
    return text if fraction is None else with_value(text, f"{where}.keep_fraction", fraction)


def _add_selected(
    text: str,
    name: str,
    *,
    like: str | None,
    shots: Sequence[Shots],
    how: str | None,
    fraction: float | None,
) -> str:
    """Add sets, and choose what of them trains."""
    if how is None and fraction is not None:
        raise ValueError(f"--keep {fraction:g} keeps images by --select; name it: clip, say")
    text = add(text, name, like=like, shots=shots)
    for added in [f"{name}_{count}" for count in shots] or [name]:
        text = text if how is None else select(text, added, how, fraction)
    return text


def _add_one(text: str, name: str, like: str | None) -> str:
    values = load(text)
    kind = _kind_of(values, name)
    if kind is None:
        changes: dict[str, Any] = {}
        if like is None:
            like, changes = _model(values["synthetic"], name)
        if (kind := _kind_of(values, like)) is None:
            raise ValueError(f"there is no set '{like}' to copy; {_choices(values)}")
        text = with_copy(text, f"{kind}.{like}", name)
        if _shots_of(name) is not None and values[kind][like].get("shots") is not None:
            changes = {"shots": _shots_of(name)}
        for key, value in changes.items():
            text = with_value(text, f"{kind}.{name}.{key}", value)
        tuned = f", its generator tuned by {name.rpartition('_')[0]}" if "tuned" in changes else ""
        say(f"{kind}.{name} is a copy of {like}{tuned}")
    elif like:
        raise ValueError(f"{kind}.{name} is there already; leave out '--like {like}'")
    listed = values[KINDS[kind]]
    if name not in listed:
        text = with_items(text, KINDS[kind], [*listed, name])
    seen = load(text)[kind][name].get("shots")
    if seen is not None and seen not in values["shots"]:
        text = with_items(text, "shots", _in_order([*values["shots"], seen]))
        say(f"shots has {seen} too: only runs with so many use {name}")
    return text


def _kind_of(values: Any, name: str) -> str | None:
    """Return the section that holds the group of a set; None: there is none."""
    return next((kind for kind in KINDS if name in values[kind]), None)


def _shots_of(name: str) -> Shots | None:
    """Return the shots that a name ends in."""
    shots = read_shots(name.rpartition("_")[2])
    return shots if isinstance(shots, int) or shots == "full" else None


def _model(groups: Any, name: str) -> tuple[str, dict[str, Any]]:
    """Return the group that a new set of this name is a copy of, and what differs in it.

    The last group of the same name but for its shots; or, for a tuned generator, the last one whose
    templates see no real image.

    Raises:
        ValueError: if there is none.
    """
    stem, shots = name.rpartition("_")[0], _shots_of(name)
    found = [
        other
        for other, group in groups.items()
        if group.get("shots") is not None and other == f"{stem}_{group['shots']}"
    ]
    if shots is not None and found:
        return found[-1], {"shots": shots}
    plain = [
        other
        for other, group in groups.items()
        if group.get("prompts") == "template" and group.get("shots") is None
    ]
    if shots is not None and stem in TUNED and plain:
        return plain[-1], {"shots": shots, "tuned": TUNED[stem]}
    raise ValueError(
        f"params.yaml has no group of a set '{name}', nor one that differs in its shots alone; "
        f"say which set it is a copy of: 'python src sets add {name} --like OTHER'"
    )


def _choices(values: Any) -> str:
    return f"choose from {', '.join(name for kind in KINDS for name in values[kind])}"


def _in_order(shots: Sequence[Shots]) -> list[Shots]:
    return sorted(shots, key=lambda count: float("inf") if count == "full" else int(count))


def remove(text: str, names: Sequence[str]) -> str:
    """Return params.yaml without these sets; their groups stay.

    Raises:
        ValueError: if one is no set.
    """
    values = load(text)
    if unknown := [name for name in names if name not in values["sets"]]:
        raise ValueError(f"there is no set '{unknown[0]}'; choose from {', '.join(values['sets'])}")
    for key in (*KINDS.values(), "clip_tuning.sets"):
        listed = values["clip_tuning"]["sets"] if "." in key else values[key]
        text = with_items(text, key, [name for name in listed if name not in names])
    return text


def remove_all(text: str, *, generator: bool = True) -> str:
    """Return params.yaml without sets, and without a generator if that is said."""
    values = load(text)
    text = remove(text, values["sets"])
    if values["report"].get("primary"):  # a verdict on a set
        text = with_value(text, "report.primary", None)
        say("report.primary is null: without sets there is no verdict")
    return text if generator else with_value(text, "upstream.generator", None)


def main(arguments: list[str]) -> None:
    """Take what to do, or nothing."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src sets", description=__doc__, formatter_class=formatter
    )
    ways = parser.add_subparsers(dest="way", metavar="add|remove|none")
    adding = ways.add_parser("add", help="one more set")
    adding.add_argument("name", help="such as dsi_8, or with --shots dsi")
    adding.add_argument("--like", metavar="OTHER", help="the set whose settings it takes")
    adding.add_argument("--shots", nargs="+", type=read_shots, default=[], help="a set for each")
    adding.add_argument("--select", metavar="HOW", help="what of it trains: clip, entropy, random")
    adding.add_argument("--keep", type=float, metavar="FRACTION", help="how much of it trains")
    removing = ways.add_parser("remove", help="take sets out; their groups stay")
    removing.add_argument("names", nargs="+", metavar="NAME")
    none = ways.add_parser("none", help="real images alone")
    none.add_argument("--no-generator", action="store_true", help="nor train or fetch one")
    args = parser.parse_args(arguments)
    if args.way == "add":
        sets(
            lambda text: _add_selected(
                text,
                args.name,
                like=args.like,
                shots=args.shots,
                how=args.select,
                fraction=args.keep,
            )
        )
    elif args.way == "remove":
        sets(lambda text: remove(text, args.names))
    elif args.way == "none":
        sets(lambda text: remove_all(text, generator=not args.no_generator))
    else:
        sets()
