"""params.yaml as a whole: every section checked, and what one section says of another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StringConstraints, model_validator

from synthbridge.clip.settings import ClipTuningSettings, RetrievedSettings
from synthbridge.core.settings import Settings, check_settings, read_yaml
from synthbridge.data.distillation import (
    Distillation,
    of_method,
    sampling_faults,
    set_faults,
)
from synthbridge.data.manifests import MAX_SHOTS, NUM_FEW_SHOT_SEEDS, Shots
from synthbridge.data.settings import DatasetSettings
from synthbridge.data.synthetic import NamedSet
from synthbridge.delivery.settings import DeliverSettings
from synthbridge.diffusion.settings import (
    LEARNED,
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
    count_steps,
)
from synthbridge.evidence.settings import CONTROL, ExamineSettings, ReportSettings
from synthbridge.training.settings import (
    Legs,
    LegSettings,
    ProbeSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.upstream.settings import GeneratorSettings, HubGenerator, UpstreamSettings

PARAMS = Path("params.yaml")
SHOTS_RULE = f"1 to {MAX_SHOTS}, or full"


def _are_shots(shots: Any) -> bool:
    """Say whether a run can see so many images: a ranking lists the first 64 of each class."""
    return shots == "full" or (type(shots) is int and 1 <= shots <= MAX_SHOTS)


def _shots(shots: Any) -> Shots:
    if not _are_shots(shots):
        raise ValueError(f"choose from {SHOTS_RULE}")
    return shots


def read_shots(text: str) -> Shots:
    """Read a number of shots, or full, of a command line; checked where it is set."""
    return int(text) if text.isdigit() else text


ShotsSetting = Annotated[Shots, PlainValidator(_shots)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # part of DVC stage names


@dataclass(frozen=True)
class ToldScales:
    """A generator that is told the guidance scale, in one pass of the denoiser."""

    what: str  # it is, with an article
    least: float  # of the scales that it learned; 1: no publisher names it


LCM_SCALES = ToldScales("an LCM model with an embedded scale", 3.0)  # arXiv:2310.04378
FLUX_SCALES = ToldScales("a FLUX.1-dev model", 1.0)


class ArmFamilies(Settings):
    """`arms` in params.yaml: named lists of legs, in families that need the same inputs."""

    real: dict[Name, Legs]  # real images only
    mixed: dict[Name, Legs]  # real images and a set's together, once a set
    bridged: dict[Name, Legs]  # start from a stage-one model, once a set


class Params(Settings):
    """params.yaml."""

    upstream: UpstreamSettings
    datasets: Annotated[list[Name], Field(min_length=1)]
    data: dict[Name, DatasetSettings]
    shots: Annotated[list[ShotsSetting], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    sets: list[Name]  # all that train models; none: real images alone
    generated_sets: list[Name]
    retrieved_sets: list[Name]
    synthetic: dict[Name, SyntheticSettings]
    retrieved: dict[Name, RetrievedSettings]
    invert: InversionSettings
    tune: TuneSettings
    generate: SamplingSettings
    examine: ExamineSettings
    training: TrainingSettings
    stage_one: dict[Name, StageOneSettings]
    real_leg: RealLegSettings
    arms: ArmFamilies
    clip_tuning: ClipTuningSettings
    probe: ProbeSettings
    report: ReportSettings
    deliver: DeliverSettings

    @model_validator(mode="after")
    def _sections_fit(self) -> "Params":
        """Check what one section says of another, and say all that is wrong at once."""
        faults = [
            *self._lists_fit(),
            *self._sets_fit(),
            *self._generator_fits(),
            *self._ensemble_sees_one_input(),
            *self._clip_tuning_fits(),
            *self._arms_fit(),
        ]
        if len(faults) > 1:
            raise ValueError("\n  ".join((f"{len(faults)} settings do not fit:", *faults)))
        if faults:
            raise ValueError(faults[0])
        return self

    def _lists_fit(self) -> Iterator[str]:
        for seed in self.seeds:
            if not 0 <= seed < NUM_FEW_SHOT_SEEDS:
                yield f"seeds holds {seed}; choose from 0 to {NUM_FEW_SHOT_SEEDS - 1}"
        lists = {
            "datasets": self.datasets,
            "sets": self.sets,
            "shots": self.shots,
            "seeds": self.seeds,
            "clip_tuning.sets": self.clip_tuning.sets,
        }
        for name, values in lists.items():
            if len(set(values)) < len(values):
                yield f"{name} is {values}; name each one once"
        yield from _without_group("datasets", self.datasets, "data", self.data)
        yield from _without_group(
            "generated_sets", self.generated_sets, "synthetic", self.synthetic
        )
        yield from _without_group(
            "retrieved_sets", self.retrieved_sets, "retrieved", self.retrieved
        )

    def _sets_fit(self) -> Iterator[str]:
        if self.generated_sets and self.upstream.generator is None:
            yield (
                f"generated_sets holds {_list(self.generated_sets)}, but upstream.generator is "
                "null, so that nothing can draw them; name a generator, or run 'python src sets "
                f"remove {' '.join(self.generated_sets)}'"
            )
        parts = [*self.generated_sets, *self.retrieved_sets]
        if sorted(parts) != sorted(self.sets):
            yield (
                f"sets is {self.sets}, but generated_sets and retrieved_sets together are {parts}; "
                "name each set in one of the two and run 'python src sets', which writes sets"
            )
        if self.training.normalisation == "synthetic" and not self.sets:
            yield (
                "training.normalisation is 'synthetic', but sets is empty, so there is no "
                "synthetic image to measure; choose backbone or real"
            )
        if self.sets and self.upstream.clip is None:
            yield (
                f"upstream.clip is null, but sets holds {_list(self.sets)}, and a set is looked "
                "through with CLIP for test images; name one there (docs/models.md)"
            )
        for name in self.generated_sets:
            if name in self.synthetic:
                yield from self._drawn_faults(name, self.synthetic[name])
        for name in self.retrieved_sets:
            if name in self.retrieved:
                yield from self._found_faults(name, self.retrieved[name])

    def _drawn_faults(self, name: str, settings: SyntheticSettings) -> Iterator[str]:
        """Say what is wrong with a set that is drawn; a group that no list names may stay."""
        where, shots = f"synthetic.{name}", settings.shots
        try:
            count_steps(self.generate.num_steps, settings.image_strength)
        except ValueError as error:
            yield f"{where}: {error}"
        if settings.scored_by is not None and settings.scored_by not in self.stage_one:
            yield (
                f"{where}.scored_by is '{settings.scored_by}', which is no group below stage_one; "
                f"choose from {_list(self.stage_one)}"
            )
        if name in ("real", f"real_{shots}"):
            yield f"{where} has the name of runs on real images alone in the report; rename it"
        elif shots is not None and not name.endswith(f"_{shots}"):
            yield (
                f"{where} sees {shots} shots; let its name end in _{shots}, so that reports can "
                "say so"
            )
        if shots is not None and not _are_shots(shots):
            yield f"{where}.shots is {shots}; choose from {SHOTS_RULE}"

    def _found_faults(self, name: str, settings: RetrievedSettings) -> Iterator[str]:
        """Say what is wrong with a set that is retrieved."""
        where = f"retrieved.{name}"
        if name in self.synthetic:
            yield f"'{name}' is a group of synthetic and of retrieved; rename one"
        if name == "real":
            yield f"{where} has the name of runs on real images alone in the report; rename it"
        if settings.pool is None and self.upstream.pool is None:
            yield (
                f"{where}.pool is null, the upstream's, but upstream.pool is null too; name a "
                "folder of captioned images (docs/retrieval.md)"
            )

    def _generator_fits(self) -> Iterator[str]:
        """Say what the generator does not take, where its settings alone tell how it draws."""
        generator = self.upstream.generator
        if isinstance(generator, GeneratorSettings):  # the miniature is none of few steps
            yield from self.distillation_faults(None)
            sampler, is_flow = self.generate.sampler, generator.prediction == "flow"
            if is_flow and self.generated_sets and sampler in ("ddpm", "euler_ancestral"):
                yield (
                    f"generate.sampler is {sampler}, but upstream.generator.prediction is flow, "
                    "which takes dpm++ or euler; choose one of these"
                )
        weights = generator.weights if isinstance(generator, HubGenerator) else None
        if weights is None or weights.distilled is None:
            return
        try:  # whether the UNet is told the scale is seen at `upstream`: leave it room
            distillation = of_method(weights.distilled, weights.file, embeds_scale=True)
        except ValueError as error:
            yield f"upstream.generator.weights.file: {error}"
        else:
            yield from self.distillation_faults(distillation)

    def distillation_faults(self, distillation: Distillation | None) -> Iterator[str]:
        """Say what the generator does not take, a sentence each.

        Args:
            distillation: the generator's; None: it is none of few steps.
        """
        if not self.generated_sets:
            return
        yield from sampling_faults(distillation, self.generate.sampler, self.generate.num_steps)
        for name in self.generated_sets:
            if settings := self.synthetic.get(name):
                learns = f"words ({settings.prompts})" if settings.prompts in LEARNED else None
                where, scale = f"synthetic.{name}", settings.guidance_scale
                yield from set_faults(distillation, where, scale, learns=learns)

    def told_scale_faults(self, told: ToldScales | None) -> Iterator[str]:
        """Say which guidance is asked of a generator that never learned it, a sentence each.

        Args:
            told: what it is told of guidance in one pass; None: it is told nothing.
        """
        if told is None or not self.generated_sets:
            return
        drawn = [(name, self.synthetic[name].guidance_scale) for name in self.generated_sets]
        if self.generate.guided_fraction < 1 and any(scale != 1 for _, scale in drawn):
            yield (
                f"generate.guided_fraction is {self.generate.guided_fraction:g}, but {told.what} "
                "is told the guidance scale, and would be told 1 after that fraction, which it "
                "never learned; write 1 (guidance costs it nothing)"
            )
        for name, scale in drawn:
            if 1 < scale < told.least:
                yield (
                    f"synthetic.{name}.guidance_scale is {scale:g}, but {told.what} learned scales "
                    f"from {told.least:g} on; write 8"
                )

    def transformer_faults(self) -> Iterator[str]:
        """Say what a flow-matching transformer that is not distilled does not take."""
        if not self.generated_sets:
            return
        what = "the generator is a flow-matching transformer"
        if self.generate.sampler != "euler":
            yield (
                f"generate.sampler is {self.generate.sampler}, but {what}, which takes euler; "
                "choose euler"
            )
        for name in self.generated_sets:
            settings = self.synthetic.get(name)
            if settings and settings.prompts in LEARNED:
                yield (
                    f"synthetic.{name} learns words ({settings.prompts}), but {what}, in which no "
                    "word can be learned; choose template, contextual or a file's prompts, or tune "
                    "a LoRA (docs/tuned-generator.md)"
                )

    def _ensemble_sees_one_input(self) -> Iterator[str]:
        if self.deliver.ensemble and self.training.normalisation != "backbone":
            yield (
                "deliver.ensemble is true, which shows one input to all seeds' models, but "
                f"training.normalisation is '{self.training.normalisation}', which each measures "
                "for itself; set one of the two otherwise (false, backbone)"
            )

    def _clip_tuning_fits(self) -> Iterator[str]:
        for name in self.clip_tuning.sets:
            if name not in self.sets:
                yield (
                    f"clip_tuning.sets holds '{name}', which sets does not; add it there, or "
                    "leave it out here"
                )

    def _arms_fit(self) -> Iterator[str]:
        for family, arms in self.arms:
            for arm, legs in arms.items():
                if arm.startswith("clip_"):
                    yield (
                        f"arms.{family}.{arm} begins with clip_, as the arms of CLIP classifier "
                        "tuning do; call it otherwise"
                    )
                for number, leg in enumerate(legs):
                    where = f"arms.{family}.{arm}, leg {number + 1}"
                    yield from self._leg_faults(where, family, number, leg)

    def _leg_faults(self, where: str, family: str, number: int, leg: LegSettings) -> Iterator[str]:
        for name in (leg.stage_one, leg.add_steps_of):
            if name is not None and name not in self.stage_one:
                yield f"{where}, names stage one '{name}'; choose from {_list(self.stage_one)}"
        if (leg.stage_one is not None) != (family == "bridged" and number == 0):
            yield f"{where}: the first leg of a bridged arm names its stage_one, and no other does"
        if leg.train_on in ("mixed", "synthetic") and family != "mixed":
            yield f"{where}, trains on {leg.train_on} images; move the arm to arms.mixed"

    def named_set(self, name: str) -> NamedSet:
        """Return a set with the shots that it was made from."""
        settings = self.set_settings(name)
        shots = settings.shots if isinstance(settings, SyntheticSettings) else None
        return NamedSet(name, shots)

    def notes(self) -> list[str]:
        """Say what is allowed and may not be meant: a method without a set for a number of shots.

        Its columns stay empty there.
        """
        made: dict[str, list[Shots | None]] = {}
        for named in map(self.named_set, self.sets):
            made.setdefault(named.method, []).append(named.shots)
        lacking = [
            f"{method}_{shots}"
            for shots in self.shots
            for method, known in made.items()
            if None not in known and shots not in known
        ]
        return [
            f"no run with {name.rpartition('_')[2]} shots uses {name.rpartition('_')[0]} images: "
            f"there is no set {name}; 'python src sets add {name}' adds it"
            for name in lacking
        ]

    def set_settings(self, name: str) -> SyntheticSettings | RetrievedSettings:
        """Return the settings of a set, generated or retrieved."""
        return self.retrieved[name] if name in self.retrieved_sets else self.synthetic[name]


def check_primary(params: Params) -> None:
    """Check that the runs which `report.primary` compares are among those that are made.

    A study's experiment makes no report, and other runs.

    Raises:
        ValueError: if they are not; names the first value that does not fit.
    """
    primary = params.report.primary
    if primary is None:
        return
    made = [(arm, "real", shots) for arm in params.arms.real for shots in params.shots]
    bridged = [*params.arms.mixed, *params.arms.bridged]
    for named in map(params.named_set, params.sets):
        serves = named.serves(params.shots)
        made += [(arm, named.method, shots) for arm in bridged for shots in serves]
    wanted, left = (primary.arm, primary.method, primary.shots), made
    for place, name in enumerate(("arm", "method", "shots")):
        choices = list(dict.fromkeys(run[place] for run in left))
        if wanted[place] not in choices:
            what = ", ".join(str(value) for value in wanted[:place])
            raise ValueError(
                f"params.yaml: report.primary.{name} is {wanted[place]!r}, which no run "
                f"{f'of {what} ' if what else ''}has; choose from {_list(choices)}, or write "
                "'primary: null' for a report without a verdict"
            )
        left = [run for run in left if run[place] == wanted[place]]
    references = [arm for arm in params.arms.real if arm not in (primary.arm, CONTROL)]
    if primary.reference not in references:
        raise ValueError(
            f"params.yaml: report.primary.reference is {primary.reference!r}; choose an arm on "
            f"real images alone: {_list(references)} ({CONTROL} is the control, always)"
        )


def _without_group(
    listed_in: str, names: Sequence[str], section: str, groups: Mapping[str, Any]
) -> Iterator[str]:
    for name in names:
        if name not in groups:
            yield (
                f"{listed_in} holds '{name}', which is no group below {section}; "
                f"choose from {_list(groups)} or add the group"
            )


def _list(names) -> str:
    return ", ".join(str(name) for name in names)


def read_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        ValueError: a sentence a fault: the key, its value, the rule, the way out.
    """
    return check_settings(Params, read_yaml(path), "")
