"""What a params.yaml amounts to: the work of every stage, and what it takes on a machine.

`count_work` counts, from the settings and the sizes of the data sets alone; `predict` multiplies
with a device's rates (`costs`). docs/planning.md has the arithmetic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from synthbridge.data.synthetic import plan_shards, subset_names
from synthbridge.stages import costs
from synthbridge.stages.costs import Amounts, Rates
from synthbridge.stages.params import Params
from synthbridge.stages.sizes import DatasetSize, read_sizes
from synthbridge.stages.training_counts import TrainingCounts
from synthbridge.upstream.settings import BackboneSettings, ClipSettings, GeneratorSettings

UPSTREAM_PROCESSES = 2  # the miniature's models are trained two at a time


@dataclass(frozen=True)
class StageWork:
    """What one stage of dvc.yaml, or one round of it, has to do."""

    name: str  # as DVC calls it: generate@digits-dsi_4-b0
    units: tuple[Amounts, ...] = ()  # dealt to the processes
    each: Amounts = field(default_factory=dict)  # what every process does first: its start
    stored: Amounts = field(default_factory=dict)  # what it leaves: images, models, by kind
    fetched: Amounts = field(default_factory=dict)  # models asked of the hub
    is_shared: bool = False  # fewer units than processes are shared by all (trainings)
    most_processes: int | None = None  # None: as many as there are

    @property
    def stage(self) -> str:
        """The stage's name in dvc.yaml."""
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Work:
    """All that a params.yaml makes, from nothing."""

    generator: str | None  # what rates call it; None: real images alone
    backbone: str
    stages: tuple[StageWork, ...]

    def totals(self) -> dict[str, float]:
        """Sum every kind of work over all units: drawn_image, denoised_row, gradient_step, ..."""
        return costs.add(*(unit for stage in self.stages for unit in stage.units))

    def stored(self) -> dict[str, float]:
        """Sum what the stages leave on the disk, by kind."""
        return costs.add(*(stage.stored for stage in self.stages))


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
        stages += _dataset_stages(params, dataset, sizes[dataset])
    return Work(
        costs.generator_name(params.upstream),
        costs.backbone_name(params.upstream, params.training.image_size),
        tuple(stages),
    )


def _upstream(params: Params) -> Iterator[StageWork]:
    """The rounds of `upstream`: what stands in one is made side by side."""
    pool, clip = params.upstream.pool, params.upstream.clip
    generator, backbone = params.upstream.generator, params.upstream.backbone
    shards: list[Amounts] = []
    first: list[Amounts] = []
    last: list[Amounts] = []
    if pool:
        num_shards = -(-pool.num_images // pool.images_per_shard)
        shards = [{"pool_image": pool.num_images / num_shards}] * num_shards
    if isinstance(clip, ClipSettings):
        first.append({"clip_row": clip.num_steps * clip.batch_size})
    if isinstance(generator, GeneratorSettings):
        first.append({"vae_row": generator.vae.num_steps * generator.vae.batch_size})
        last.append({"unet_row": generator.unet.num_steps * generator.unet.batch_size})
    if isinstance(backbone, BackboneSettings):
        rows = backbone.num_steps * backbone.batch_size
        last.append({"letter": backbone.num_images, "letter_row": rows})
    models = {"generator": float(generator is not None), "backbone": 1.0}
    fetched = {
        name: 1.0
        for name, model in (("generator", generator), ("backbone", backbone))
        if hasattr(model, "hub")
    }
    rounds = [StageWork("upstream", each={"upstream_start": 1}, stored=models, fetched=fetched)]
    rounds += [StageWork("upstream", tuple(units)) for units in (shards, first, last) if units]
    for part in rounds:
        yield StageWork(**{**vars(part), "most_processes": UPSTREAM_PROCESSES})


def _dataset_stages(params: Params, dataset: str, size: DatasetSize) -> Iterator[StageWork]:
    """The stages of one data set."""
    name = f"@{dataset}"
    light: Amounts = {"light_start": 1}
    yield StageWork(f"prepare{name}", each=light, stored={"real_image": size.num_images})
    for set_ in params.generated_sets:
        yield from _generated_set(params, f"{name}-{set_}", set_, size)
    for set_ in params.retrieved_sets:
        yield _retrieved_set(params, f"{name}-{set_}", set_, size)
    runs = TrainingCounts(params, size)
    yield StageWork(f"select{name}", tuple(runs.trials()), **_TRAINING)
    for set_ in params.sets:
        units = tuple(runs.stage_one(set_))
        stored = {"classifier": len(units)}
        yield StageWork(f"bridge{name}-{set_}", units, stored=stored, **_TRAINING)
    for family, arms in params.arms:
        for set_ in [None] if family == "real" else params.sets:
            units = tuple(runs.finetuned(list(arms.values()), set_))
            stored = {"classifier": len(units)}
            what = name if set_ is None else f"{name}-{set_}"
            yield StageWork(f"finetune_{family}{what}", units, stored=stored, **_TRAINING)
    num_models = len(params.sets) * len(params.stage_one) * len(params.seeds)
    looked_at: Amounts = {"probed_image": size.num_images}
    probed = (looked_at,) * (1 + num_models)
    yield StageWork(f"probe{name}", probed, each={"training_start": 1})
    yield StageWork(f"report{name}", each={"report": 1}, most_processes=1)


_TRAINING = {"each": {"training_start": 1}, "is_shared": True}


def _retrieved_set(params: Params, where: str, set_: str, size: DatasetSize) -> StageWork:
    """`retrieve`: a pool is embedded once, unless its captions alone are searched."""
    settings, pool = params.retrieved[set_], params.upstream.pool
    is_ours = settings.search == "clip" and settings.pool is None and settings.index is None
    kept = size.num_classes * settings.images_per_class
    embedded = size.num_test + kept + (pool.num_images if pool and is_ours else 0)
    work: Amounts = {"embedded_image": embedded}
    return StageWork(f"retrieve{where}", (work,), {"embedding_start": 1}, {"synthetic_image": kept})


def _generated_set(params: Params, where: str, set_: str, size: DatasetSize) -> Iterator[StageWork]:
    """invert, plan and generate."""
    settings = params.synthetic[set_]
    subsets = list(subset_names(settings.shots, params.seeds))
    yield StageWork(f"plan{where}", each={"light_start": 1}, most_processes=1)
    if settings.prompts == "template":
        yield StageWork(f"invert{where}", each={"light_start": 1}, most_processes=1)
    else:
        samples = size.num_classes * params.invert.samples_per_class
        grid = costs.drawing(samples, params.generate, settings.guidance_scale)
        seen = size.num_seen(settings.shots)
        token = costs.style(seen, params.invert, grid)
        yield StageWork(f"invert{where}", (token,) * len(subsets), {"drawing_start": 1})
    volume = params.generate.images_per_block
    for block in range(-(-settings.images_per_class // volume)):
        shards = plan_shards(
            subsets, size.num_classes, params.generate.classes_per_shard, 0, volume
        )
        counts = [len(shard.class_indices) * volume for shard in shards]
        units = tuple(
            costs.drawing(count, params.generate, settings.guidance_scale) for count in counts
        )
        stored = {"synthetic_image": sum(counts)}
        yield StageWork(f"generate{where}-b{block}", units, {"drawing_start": 1}, stored)


@dataclass(frozen=True)
class StageEstimate:
    """What one stage takes."""

    name: str
    seconds: float
    process_seconds: float  # over all processes it holds, also those that wait for the last


@dataclass(frozen=True)
class Estimate:
    """What a work takes on a machine; stages run one after another, as DVC runs them."""

    origin: str  # of the rates
    processes: int
    stages: tuple[StageEstimate, ...]
    disk_bytes: float  # of all outs; the work folder and DVC's cache may hold a copy each
    fetched_bytes: float  # from the hub, once

    @property
    def seconds(self) -> float:
        """From the first stage to the last."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def gpu_hours(self) -> float:
        """Hours times devices held (one a process)."""
        return sum(stage.process_seconds for stage in self.stages) / 3600

    def by_stage(self) -> dict[str, float]:
        """Seconds by stage, over all data sets and sets, in the pipeline's order."""
        total: dict[str, float] = {}
        for stage in self.stages:
            name = stage.name.partition("@")[0]
            total[name] = total.get(name, 0) + stage.seconds
        return total


def predict(work: Work, rates: Rates, *, processes: int = 1) -> Estimate:
    """Predict what `work` takes where `processes` (one a GPU, over all nodes) share each stage.

    Raises:
        ValueError: if the rates do not know the work's models.
    """
    seconds = rates.of(work.generator, work.backbone)
    stages = []
    for stage in work.stages:
        count = min(processes, stage.most_processes or processes)
        took = costs.total(stage.each, seconds)
        took += costs.seconds_of_units(stage.units, seconds, count, stage.is_shared)
        stages.append(StageEstimate(stage.name, took, took * count))
    sizes = {**rates.bytes.get(work.generator or "", {}), **rates.bytes.get(work.backbone, {})}
    disk = costs.total(work.stored(), sizes)
    fetched = costs.total(costs.add(*(stage.fetched for stage in work.stages)), sizes)
    return Estimate(rates.origin, processes, tuple(stages), disk, fetched)
