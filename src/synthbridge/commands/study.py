"""Command `study`: the papers' figures and tables by name.

    python src study all --list                # what there is, and what it would cost
    python src study bridged-fig5 gap-fig2     # run what is missing, draw what is there
    python src study all --jobs 2

Each point of a study is a DVC experiment that starts from params.yaml as it is. Finished points
are not run again, and a killed study resumes where it stopped. docs/studies.md says more.
"""

import argparse
import csv
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbridge.core.files import read_json, write_text
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings, is_commit
from synthbridge.evidence.figures import write_png
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.sizes import read_sizes
from synthbridge.forecast.speeds import choose_speeds, device_kind
from synthbridge.params import Params
from synthbridge.running.gpus import visible_gpus
from synthbridge.running.launch import num_processes
from synthbridge.studies.collect import PointResult, Row, collect
from synthbridge.studies.definition import ScaleName, Study, list_studies, read_study
from synthbridge.studies.drawing import (
    draw_curves,
    draw_figure,
    fit_rows,
    fit_words,
    list_facts,
    render,
    tables,
    write_points,
)
from synthbridge.studies.experiments import (
    RECORDS,
    is_known,
    only_study,
    read_found,
    refuse_changes,
    run_experiments,
    workspace_commit,
)
from synthbridge.studies.planning import Planned, Workspace, points_of

RESULTS = RECORDS.parent
SECONDS_OF_DVC = 9.0  # per experiment: DVC copies the workspace, checks it, commits the results


@dataclass(frozen=True)
class Cost:
    """The work still to be done, at most: finished units of work are not made again."""

    images: float = 0
    steps: float = 0
    seconds: float = 0  # of one process
    untimed: int = 0  # points whose model has no known speed

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.images + other.images,
            self.steps + other.steps,
            self.seconds + other.seconds,
            self.untimed + other.untimed,
        )


def study(names: Sequence[str], scale: ScaleName | None, jobs: int, only_list: bool) -> None:
    """List studies with their costs, run the experiments that are missing, draw the studies.

    Args:
        names: of studies; "all" is all of them.
        scale: that params.yaml must be of; None: whatever it is.
        jobs: experiments at a time.
        only_list: run and draw nothing.

    Raises:
        ValueError: if a name, the scale or the workspace is not as it must be, or a study failed.
    """
    is_all = "all" in names
    names = list_studies() if is_all else list(dict.fromkeys(names))
    workspace = Workspace()
    accuracy = workspace.params["report"]["measure"]
    studies = {name: read_study(name).with_accuracy(accuracy) for name in names}
    scale = _check_scale(scale, workspace, studies)
    plans = {
        name: [workspace.plan(study.at(scale), point) for point in points_of(study.at(scale))]
        for name, study in studies.items()
    }
    _say_costs(studies, plans, scale, jobs)
    if only_list:
        return
    refuse_unpinned(plans)
    refuse_changes()
    with only_study() as lock:
        wanted = {
            item.experiment.name: item.experiment
            for plan in plans.values()
            for item in plan
            if item.experiment
        }
        failed = run_experiments(list(wanted.values()), jobs, lock)
    for record in RECORDS.glob("*.json") if is_all else []:
        if record.stem not in wanted:  # from older code or settings; git's history keeps it
            record.unlink()
    faults = [_draw(name, studies[name], plan, scale, failed) for name, plan in plans.items()]
    if any(faults):
        raise ValueError("; ".join(fault for fault in faults if fault))


def refuse_unpinned(plans: Mapping[str, Sequence[Planned]]) -> None:
    """Check that every hub model of the points is pinned, before the first of them runs.

    Raises:
        ValueError: a sentence with all that are not.
    """
    missing = {
        name: list(dict.fromkeys(model for item in plan for model in _unpinned(item.params)))
        for name, plan in plans.items()
    }
    if any(missing.values()):
        where = "; ".join(
            f"studies/{name}.yaml: {', '.join(missing[name])}" for name in missing if missing[name]
        )
        raise ValueError(
            f"hub models are taken at one commit, and these name none: {where}; write each one's "
            "commit there (40 hex digits, from its history on the hub), as revision beside hub"
        )


def _unpinned(params: Mapping[str, Any]) -> list[str]:
    """List the hub models of params.yaml that name no commit."""
    models = [model for model in params["upstream"].values() if isinstance(model, Mapping)]
    hub = [model for model in models if "hub" in model]
    return [model["hub"] for model in hub if not is_commit(model.get("revision"))]


def _check_scale(
    scale: ScaleName | None, workspace: Workspace, studies: Mapping[str, Study]
) -> ScaleName:
    """Return the scale that params.yaml is of.

    Raises:
        ValueError: if another one is asked for.
    """
    generator = workspace.params["upstream"]["generator"] or {}
    own: ScaleName = "full" if "hub" in generator else "miniature"
    if scale not in (None, own):
        prepare = next((study.full.prepare for study in studies.values()), None)
        way_out = prepare if scale == "full" and prepare else "git switch main"
        raise ValueError(f"--scale {scale}, but params.yaml is the {own} one; first: {way_out}")
    return own


def _say_costs(
    studies: Mapping[str, Study], plans: Mapping[str, list[Planned]], scale: ScaleName, jobs: int
) -> None:
    """Print a line a study: points, those still to be made, and at most how much work."""
    say(
        f"{'study':22} {'points':>6} {'to run':>6} {'images':>9} {'steps':>9} {'minutes':>8}  title"
    )
    seen: set[str] = set()
    total = Cost()
    origin = ""
    for name, plan in plans.items():
        new = [item for item in plan if item.experiment and item.experiment.name not in seen]
        new = [item for item in new if item.experiment and not is_known(item.experiment)]
        seen |= {item.experiment.name for item in new if item.experiment}
        cost = Cost()
        for item in new:
            one, known = _cost(item)
            cost, origin = cost + one, origin or known
        total = total + cost
        say(
            f"{name:22} {len(plan):6} {len(new):6} {cost.images:9,.0f} {cost.steps:9,.0f} "
            f"{cost.seconds / 60:7.1f}{'+' if cost.untimed else ' '}  {studies[name].title}"
        )
    hours = total.seconds / 3600
    what = "GPU hours" if scale == "full" else "core hours"
    say(
        f"at most {total.images:,.0f} images, {total.steps:,.0f} gradient steps, {hours:.1f} {what}"
        f", {total.seconds / 60 / jobs:.0f} min with {jobs} at a time"
        + (f" ({origin})" if origin else "")
        + (f", and {total.untimed} points with models of no known speed" if total.untimed else "")
    )


def _cost(planned: Planned) -> tuple[Cost, str]:
    """Count the work of a point's new stages; return also where the speeds come from."""
    params = check_settings(Params, dict(planned.params), "")
    work = count_work(params)
    own = tuple(stage for stage in work.stages if stage.name in planned.new_stages)
    work = replace(work, stages=own)
    totals = work.totals()
    speeds = choose_speeds(device_kind(), work.generator, work.backbone)
    images, steps = totals.get("drawn_image", 0), totals.get("gradient_step", 0)
    if speeds is None:
        return Cost(images, steps, SECONDS_OF_DVC, untimed=1), ""
    return Cost(images, steps, predict(work, speeds).seconds + SECONDS_OF_DVC), speeds.origin


def _draw(
    name: str, study: Study, plan: Sequence[Planned], scale: ScaleName, failed: Sequence[str]
) -> str | None:
    """Draw a study; return what is wrong with it, if anything."""
    lost = [item.experiment.name for item in plan if item.experiment]
    lost = [experiment for experiment in lost if experiment in failed]
    if lost:
        return f"{name} is not drawn, as {', '.join(lost)} failed"
    folder = RESULTS / name
    try:
        rows = collect(study, [(item.point, _found(item)) for item in plan])
        write_points(folder / "points.csv", name, scale, rows)
        figure = folder / "figure.png"
        body = _draw_picture(study, scale, rows, plan[0], figure)
        has_figure = study.draws in ("figure", "curves", "pictures", "analysis")
        facts = list_facts(study, rows, [item.experiment for item in plan])
        page = render(study, name, scale, body, facts, figure if has_figure else None)
        write_text(folder / "README.md", page)
    except (ValueError, OSError) as error:
        return f"{name}: {error}"
    say(f"drawn: {folder}/README.md")
    return None


def _found(item: Planned) -> PointResult:
    if item.experiment:
        return read_found(item.experiment)
    metrics = {path: read_json(Path(path)) for path in item.metrics if Path(path).is_file()}
    return PointResult("workspace", workspace_commit(), metrics)


def _draw_picture(
    study: Study, scale: ScaleName, rows: Sequence[Row], base: Planned, figure: Path
) -> str:
    """Draw what a study draws beside its tables; return its tables."""
    datasets = base.params["datasets"]
    fits = {}
    if study.draws == "figure":
        fits = fit_rows(study, rows, _images_per_class(base) if study.fits else {})
        write_png(draw_figure(study, scale, rows, fits), figure)
    elif study.draws == "curves":
        curves = []
        for dataset in datasets:
            with Path(f"metrics/{dataset}/convergence.csv").open(encoding="utf-8") as file:
                curves += list(csv.DictReader(file))
        write_png(draw_curves(study, scale, curves), figure)
    elif study.draws == "pictures":
        figure.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"metrics/{datasets[0]}/plots/grid.png", figure)
        return ""
    elif study.draws == "analysis":
        from synthbridge.studies.analysis import draw_analysis  # torch and timm: seconds

        return f"{tables(study, rows)}\n{draw_analysis(base.params, figure)}"
    elif study.draws == "sizes":
        sizes = read_sizes(check_settings(Params, dict(base.params), ""))
        lines = ["| data set | classes | train | held out | test |", "|---" * 5 + "|"]
        lines += [
            f"| {name} | {size.num_classes} | {size.num_train} | {size.num_validation} | "
            f"{size.num_test} |"
            for name, size in sizes.items()
        ]
        return "\n".join(lines)
    return "\n\n".join(filter(None, (tables(study, rows).strip(), fit_words(fits))))


def _images_per_class(planned: Planned) -> dict[str, float]:
    sizes = read_sizes(check_settings(Params, dict(planned.params), ""))
    return {name: size.num_train / size.num_classes for name, size in sizes.items()}


def main(arguments: list[str] | None = None) -> None:
    """Take the names of studies."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src study", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("names", nargs="+", help="of studies/NAME.yaml, or all")
    parser.add_argument("--list", action="store_true", help="say what it would cost, run nothing")
    scale_help = "refuse if params.yaml is not of this scale"
    parser.add_argument("--scale", choices=("miniature", "full"), help=scale_help)
    parser.add_argument("--jobs", type=int, help="experiments at a time (one a core, or a GPU)")
    args = parser.parse_args(arguments)
    jobs = num_processes("bridge") if args.jobs is None else args.jobs
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; give a whole number above 0")
    if jobs > 1 and visible_gpus():
        os.environ.setdefault("SYNTHBRIDGE_GPUS_EACH", "1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that experiments are ended too
    study(args.names, args.scale, jobs, args.list)
