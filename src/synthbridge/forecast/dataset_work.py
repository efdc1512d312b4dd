"""The work of every stage of one data set, counted from the settings and its size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from synthbridge.data.keeping import count_kept
from synthbridge.data.synthetic import plan_shards, subset_names
from synthbridge.forecast import amounts
from synthbridge.forecast.amounts import Amounts
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import TOLD_SCALE, generator_name
from synthbridge.forecast.training_counts import TrainingCounts
from synthbridge.params import Params
from synthbridge.training.settings import LegSettings


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


class DatasetWork:
    """Counts the stages of one data set."""

    def __init__(self, params: Params, dataset: str, size: DatasetSize):
        """Take what they depend on."""
        self.params, self.dataset, self.size = params, dataset, size
        self.counts = TrainingCounts(
            params.training.batch_size, params.real_leg, params.stage_one, size
        )

    def stages(self) -> Iterator[StageWork]:
        """List them in the pipeline's order."""
        light: Amounts = {"light_start": 1}
        yield StageWork(
            f"prepare@{self.dataset}", each=light, stored={"real_image": self.size.num_images}
        )
        for set_ in self.params.generated_sets:
            yield from self._generated(set_)
        for set_ in self.params.retrieved_sets:
            yield self._retrieved(set_)
        for number, set_ in enumerate(self.params.sets):
            yield self._sifted(set_)
            yield self._examined(set_, is_first=number == 0)
        yield self._trained("select", None, list(self._trials()), num_stored=0)
        for set_ in self.params.sets:
            yield self._trained("bridge", set_, list(self._first_legs(set_)))
        for family, arms in self.params.arms:
            for set_ in [None] if family == "real" else self.params.sets:
                runs = list(self._runs(list(arms.values()), set_))
                yield self._trained(f"finetune_{family}", set_, runs)
        yield self._tuned(None)
        for set_ in self.params.clip_tuning.sets:
            yield self._tuned(set_)
        yield self._probed()
        yield StageWork(f"report@{self.dataset}", each={"report": 1}, most_processes=1)
        yield self._delivered()

    def _name(self, stage: str, set_: str | None, *more: str) -> str:
        """Return what DVC calls a stage."""
        return f"{stage}@{'-'.join([self.dataset, *([set_] if set_ else []), *more])}"

    def _generated(self, set_: str) -> Iterator[StageWork]:
        """invert, plan and generate."""
        settings, sampling = self.params.synthetic[set_], self.params.generate
        subsets = list(subset_names(settings.shots, self.params.seeds))
        light, draws = {"light_start": 1}, {"light_start": 1, "load_generator": 1}
        is_told_scale = generator_name(self.params.upstream) in TOLD_SCALE
        learned = amounts.learning(
            settings,
            self.params.invert,
            self.params.tune,
            sampling,
            self.size,
            is_told_scale=is_told_scale,
        )
        if settings.shots is None:
            yield StageWork(self._name("invert", set_), each=light, most_processes=1)
        else:
            kept: Amounts = {}
            if settings.tuned is not None:
                num_loras = self.size.num_classes if settings.tuned == "class" else 1
                kept = {"lora_rank": len(subsets) * num_loras * self.params.tune.rank}
            yield StageWork(self._name("invert", set_), (learned,) * len(subsets), draws, kept)
        yield StageWork(self._name("plan", set_), each=light, most_processes=1)
        volume = sampling.images_per_block
        shards = plan_shards(subsets, self.size.num_classes, sampling.classes_per_shard, 0, volume)
        draw = partial(
            amounts.drawing,
            sampling=sampling,
            guidance_scale=settings.guidance_scale,
            image_strength=settings.image_strength,
            is_told_scale=is_told_scale,
        )
        units = tuple(draw(shard.num_images) for shard in shards)
        stored = {"synthetic_image": sum(shard.num_images for shard in shards)}
        for block in range(-(-settings.images_per_class // volume)):
            name = self._name("generate", set_, f"b{block}")
            yield StageWork(name, units, draws, stored)

    def _retrieved(self, set_: str) -> StageWork:
        """retrieve: a pool is embedded once, unless its captions alone are searched."""
        settings, pool = self.params.retrieved[set_], self.params.upstream.pool
        is_ours = settings.search == "clip" and settings.pool is None and settings.index is None
        found = self.size.num_classes * settings.images_per_class
        embedded = self.size.num_test + found + (pool.num_images if pool and is_ours else 0)
        work: Amounts = {"embedded_image": embedded}
        start: Amounts = {"embedding_start": 1}
        return StageWork(
            self._name("retrieve", set_),
            (work,),
            start,
            {"synthetic_image": found},
            most_processes=1,
        )

    def _sifted(self, set_: str) -> StageWork:
        """sift: a classifier for each subset, where the set asks for them."""
        settings = self.params.synthetic.get(set_)
        if settings is None or settings.scored_by is None:
            return StageWork(self._name("sift", set_), each={"light_start": 1}, most_processes=1)
        drawn = self.size.num_classes * settings.images_per_class
        unit = amounts.choosing(
            self._volume(set_),
            drawn,
            self.counts.stage_one_steps(settings.scored_by),
            self.params.training.batch_size,
        )
        units = [unit] * len(subset_names(settings.shots, self.params.seeds))
        return self._trained("sift", set_, units, num_stored=0)

    def _examined(self, set_: str, *, is_first: bool) -> StageWork:
        """examine: the set's images, and the real ones once for all sets."""
        settings = self.params.set_settings(set_)
        subsets = len(subset_names(settings.shots, self.params.seeds))
        own = subsets * self.size.num_classes * settings.images_per_class
        real = (self.size.num_train + self.size.num_test) if is_first else 0
        work: Amounts = {"embedded_image": own + real, "examination": subsets}
        return StageWork(
            self._name("examine", set_), (work,), {"embedding_start": 1}, most_processes=1
        )

    def _trained(
        self, stage: str, set_: str | None, units: Sequence[Amounts], num_stored: int | None = None
    ) -> StageWork:
        """A stage that trains; every run leaves a model, but those of `select`."""
        stored = {"classifier": len(units) if num_stored is None else num_stored}
        start: Amounts = {"training_start": 1}
        return StageWork(self._name(stage, set_), tuple(units), start, stored, is_shared=True)

    def _trials(self) -> Iterator[Amounts]:
        if self.params.real_leg.select_on == "nothing":
            return
        for shots in self.params.shots:
            for _ in range(len(self.params.seeds) * len(self.params.real_leg.learning_rates)):
                yield self.counts.trial(shots)

    def _first_legs(self, set_: str) -> Iterator[Amounts]:
        batch, num_models = self.params.training.batch_size, len(self.params.stage_one)
        for _ in self.params.seeds:
            for name in self.params.stage_one:
                steps = self.counts.stage_one_steps(name)
                yield amounts.first_leg(self._volume(set_), steps, batch, num_models)

    def _runs(self, arms: Sequence[Sequence[LegSettings]], set_: str | None) -> Iterator[Amounts]:
        """Each run of a family of arms, in the order in which `finetune` deals them."""
        own = self.params.set_settings(set_).shots if set_ else None
        volume = self._volume(set_) if set_ else 0
        for shots in self.params.shots:
            if own is None or shots == own:
                for _ in self.params.seeds:
                    for legs in arms:
                        yield self.counts.run(
                            legs, shots, volume=volume, num_judged=self.size.num_test
                        )

    def _tuned(self, set_: str | None) -> StageWork:
        """tune_clip: linear classifiers on CLIP's features of all images."""
        settings = self.params.clip_tuning
        own = self.params.set_settings(set_).shots if set_ else None
        volume = self._volume(set_) if set_ else 0
        rows = sum(
            settings.num_epochs * (self.size.num_seen(shots) + 2 * volume)
            for shots in self.params.shots
            if own is None or shots == own
        )
        work: Amounts = {
            "embedded_image": self.size.num_images + volume,
            "tuned_row": rows * len(self.params.seeds),
        }
        start: Amounts = {"embedding_start": 1}
        stage = "tune_clip_set" if set_ else "tune_clip"
        return StageWork(self._name(stage, set_), (work,), start, most_processes=1)

    def _probed(self) -> StageWork:
        """probe: the models of a name together, as they are dealt; the backbone."""
        names = len(self.params.sets) * len(self.params.stage_one)
        model: Amounts = {"probed_image": len(self.params.seeds) * self.size.num_images}
        start: Amounts = {"training_start": 1}
        return StageWork(f"probe@{self.dataset}", (model,) * names + (model,), start)

    def _delivered(self) -> StageWork:
        """deliver: all final models of the highest number of shots read the held-out images."""
        most = max(self.params.shots, key=lambda k: float("inf") if k == "full" else float(k))
        num_models = 0
        for family, arms in self.params.arms:
            for set_ in [None] if family == "real" else self.params.sets:
                own = self.params.set_settings(set_).shots if set_ else None
                num_models += len(arms) * len(self.params.seeds) * (own in (None, most))
        held_out = self.size.num_validation
        work: Amounts = {"read_image": held_out, "predicted_row": held_out * num_models}
        start: Amounts = {"training_start": 2}  # writing ONNX takes as long as a start
        return StageWork(f"deliver@{self.dataset}", (work,), start, most_processes=1)

    def _volume(self, set_: str) -> int:
        """Images of a set that one run sees: of a generated one, those that the filter keeps."""
        settings = self.params.set_settings(set_)
        number = settings.images_per_class
        if set_ in self.params.generated_sets:
            generated = self.params.synthetic[set_]
            number = count_kept(number, generated.keep_fraction, generated.cap)
        return self.size.num_classes * number
