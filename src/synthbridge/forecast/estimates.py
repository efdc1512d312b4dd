"""What a params.yaml amounts to: the work of every stage, and what it takes on a machine.

`count_work` counts, from the settings and the sizes of the data sets alone; `predict` multiplies
with a device's speeds (`amounts`). docs/planning.md has the arithmetic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from synthbridge.forecast import amounts
from synthbridge.forecast.dataset_work import DatasetWork, StageWork
from synthbridge.forecast.sizes import DatasetSize, read_sizes
from synthbridge.forecast.speeds import Speeds, backbone_name, generator_name
from synthbridge.params import Params

UPSTREAM_PROCESSES = 2  # the miniature's models are trained two at a time


@dataclass(frozen=True)
class Work:
    """All that a params.yaml makes, from nothing."""

    generator: str | None  # what speeds call it; None: real images alone
    backbone: str
    stages: tuple[StageWork, ...]

    def totals(self) -> dict[str, float]:
        """Sum every kind of work over all units: drawn_image, denoised_row, gradient_step, ..."""
        return amounts.add(*(unit for stage in self.stages for unit in stage.units))

    def stored(self) -> dict[str, float]:
        """Sum what the stages leave on the disk, by kind."""
        return amounts.add(*(stage.stored for stage in self.stages))


def count_work(params: Params, sizes: Mapping[str, DatasetSize] | None = None) -> Work:
    """Count the work of every stage that params.yaml asks for, from nothing.

    Args:
        params: a whole params.yaml.
        sizes: of the data sets; None: as `read_sizes` finds them.

    Raises:
        ValueError: if the size of a data set is known nowhere.
    """
    sizes = read_sizes(params) if sizes is None else sizes
    stages: list[StageWork] = list(_upstream(params))
    for dataset in params.datasets:
        stages += DatasetWork(params, dataset, sizes[dataset]).stages()
    return Work(
        generator_name(params.upstream),
        backbone_name(params.upstream, params.training.image_size),
        tuple(stages),
    )


def _upstream(params: Params) -> Iterator[StageWork]:
    """The rounds of `upstream`: what stands in one is made side by side."""
    upstream = params.upstream
    named = {"generator": upstream.generator, "backbone": upstream.backbone}
    stored = {name: 1.0 for name, model in named.items() if model}
    fetched = {name: 1.0 for name, model in named.items() if hasattr(model, "hub")}
    shards = amounts.pool_shards(upstream.pool) if upstream.pool else []
    rounds = [shards, *(list(models.values()) for models in amounts.miniature_models(upstream))]
    start = StageWork("upstream", each={"upstream_start": 1}, stored=stored, fetched=fetched)
    for part in (start, *(StageWork("upstream", tuple(units)) for units in rounds if units)):
        yield replace(part, most_processes=UPSTREAM_PROCESSES)


@dataclass(frozen=True)
class StageEstimate:
    """What one stage takes."""

    name: str
    seconds: float
    process_seconds: float  # over all processes it holds, also those that wait for the last


@dataclass(frozen=True)
class Estimate:
    """What a work takes on a machine; stages run one after another, as DVC runs them."""

    origin: str  # of the speeds
    processes: int
    stages: tuple[StageEstimate, ...]
    disk_bytes: float  # of all outs; the work folder and DVC's cache may hold a copy each
    fetched_bytes: float  # from the hub, once

    @property
    def seconds(self) -> float:
        """From the first stage to the last."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def device_hours(self) -> float:
        """GPU-hours, or core-hours: hours times the processes that hold one each."""
        return sum(stage.process_seconds for stage in self.stages) / 3600

    def by_stage(self) -> dict[str, float]:
        """Seconds by stage, over all data sets and sets, in the pipeline's order."""
        total: dict[str, float] = {}
        for stage in self.stages:
            name = stage.name.partition("@")[0]
            total[name] = total.get(name, 0) + stage.seconds
        return total


def predict(work: Work, speeds: Speeds, *, processes: int = 1) -> Estimate:
    """Predict what `work` takes where `processes` (one a GPU, over all nodes) share each stage.

    Raises:
        ValueError: if the speeds do not know the work's models, or not their sizes.
    """
    seconds = speeds.of(work.generator, work.backbone)
    stages = []
    for stage in work.stages:
        count = min(processes, stage.most_processes or processes)
        took = amounts.total(stage.each, seconds)
        took += amounts.seconds_of_units(stage.units, seconds, count, stage.is_shared)
        stages.append(StageEstimate(stage.name, took, took * count))
    sizes = {**speeds.sizes_of(work.generator or "none"), **speeds.sizes_of(work.backbone)}
    fetched = amounts.add(*(stage.fetched for stage in work.stages))
    if unknown := [kind for kind in {**work.stored(), **fetched} if kind not in sizes]:
        raise ValueError(
            f"the size of {', '.join(unknown)} is unknown for '{work.generator}' and "
            f"'{work.backbone}'; 'python src estimate --measure' finds it"
        )
    disk, fetched = amounts.total(work.stored(), sizes), amounts.total(fetched, sizes)
    return Estimate(speeds.origin, processes, tuple(stages), disk, fetched)
