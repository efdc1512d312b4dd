"""Command `estimate`: what the settings will cost, before any of it runs.

    python src estimate                          # params.yaml, from nothing, on this machine
    python src estimate finetune_mixed           # one stage, set by set
    python src estimate --params profiles/paper.yaml --speeds h200      # on one H200
    python src estimate --params profiles/paper.yaml --speeds h200 --gpus 8 --nodes 2
    python src estimate --measure                # measures this machine's speeds first

No stage: it makes nothing but, with --measure, speeds.yaml in the work folder.
"""

import argparse
from pathlib import Path

from synthbridge.core.log import say
from synthbridge.forecast.estimates import Estimate, Work, count_work, predict
from synthbridge.forecast.speeds import Speeds, choose_speeds, device_kind, read_speeds
from synthbridge.params import Params, read_params
from synthbridge.running.launch import num_processes

COUNTS = {  # what is said of all the work, by the kinds of which it is made
    "images to draw": ("drawn_image",),
    "rows through the denoiser": ("denoised_row",),
    "rows of style inversion": ("inverted_row",),
    "models to train": ("training",),
    "gradient steps": ("gradient_step",),
    "images in gradient steps": ("trained_row",),
}


def estimate(
    params: Params, stage: str | None, speeds: Speeds, *, processes: int, nodes: int
) -> None:
    """Print what `params` will take, from nothing.

    Args:
        params: a whole params.yaml.
        stage: of dvc.yaml, to be shown set by set; None: every stage, in sum.
        speeds: of one process.
        processes: on each node; one a GPU.
        nodes: machines that share the work.

    Raises:
        ValueError: if there is no such stage, or the speeds do not know a model.
    """
    work = count_work(params)
    found = predict(work, speeds, processes=processes * nodes)
    if stage:
        rows = {part.name: part.seconds for part in found.stages if _is_of(part.name, stage)}
        if not rows:
            known = ", ".join(found.by_stage())
            raise ValueError(f"'{stage}' is no stage of this pipeline; choose from {known}")
    else:
        rows = found.by_stage()
        _say_counts(work)
        for note in params.notes():
            say(f"{note}\n")
    where = f"{nodes} x {processes}" if nodes > 1 else f"{processes}"
    noun = "process" if nodes == processes == 1 else "processes"
    say(f"{where} {noun}; speeds of {found.origin}\n")
    for name, seconds in rows.items():
        say(f"  {name:<32} {duration(seconds):>12}")
    say(f"  {'in all':<32} {duration(sum(rows.values())):>12}")
    if not stage:
        _say_totals(found, speeds)


def _is_of(name: str, stage: str) -> bool:
    return stage in (name, name.partition("@")[0])


def _say_counts(work: Work) -> None:
    totals = work.totals()
    for what, kinds in COUNTS.items():
        if count := sum(totals.get(kind, 0) for kind in kinds):
            say(f"  {what:<32} {count:>12,.0f}")
    say("")


def _say_totals(found: Estimate, speeds: Speeds) -> None:
    what = "GPU-hours" if speeds.kind == "gpu" else "core-hours"
    say(f"  {what:<32} {found.device_hours:>12.3g}")
    say(f"  {'on the disk, GB':<32} {found.disk_bytes / 1e9:>12.3g}")
    say(f"  {'from the hub, GB':<32} {found.fetched_bytes / 1e9:>12.3g}")
    say("\nThe work folder and DVC's cache may each hold as much as the disk's row once more.")


def duration(seconds: float) -> str:
    """Write seconds as people do: 42 s, 7 min 50 s, 2 h 54 min."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def find_speeds(params: Params, name: str | None) -> Speeds:
    """Return the speeds called `name`; without one those that fit this machine and the models.

    Raises:
        ValueError: if there are none.
    """
    known = read_speeds()
    if name is None:
        work = count_work(params)
        kind = device_kind()
        if speeds := choose_speeds(kind, work.generator, work.backbone):
            return speeds
        raise ValueError(
            f"no speeds of a {kind} know {work.generator or 'no generator'} and {work.backbone}; "
            f"run 'python src estimate --measure', or name others by --speeds ({', '.join(known)})"
        )
    if name not in known:
        raise ValueError(f"'{name}' are no known speeds; choose from {', '.join(known)}")
    return known[name]


def main(arguments: list[str]) -> None:
    """Take a stage and the machines."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src estimate", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("stage", nargs="?", help="of dvc.yaml: its parts one by one")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="or a profile")
    parser.add_argument("--speeds", help="of another machine, by name; then of one GPU")
    parser.add_argument(
        "--gpus", type=int, help="processes a node (default: as many as a stage would start here)"
    )
    parser.add_argument("--nodes", type=int, default=1, help="machines that share the work")
    parser.add_argument("--measure", action="store_true", help="measure this machine first")
    args = parser.parse_args(arguments)
    params = read_params(args.params)
    if args.measure:
        from synthbridge.forecast.measuring import measure

        say(f"speeds: {measure(params, 'here')}")
    for name, count in (("--gpus", args.gpus), ("--nodes", args.nodes)):
        if count is not None and count < 1:
            raise ValueError(f"{name} is {count}; give a whole number above 0")
    here = 1 if args.speeds else num_processes("bridge")  # our cores say nothing of another machine
    processes = args.gpus or here
    speeds = find_speeds(params, args.speeds)
    estimate(params, args.stage, speeds, processes=processes, nodes=args.nodes)
