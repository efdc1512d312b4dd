"""params.yaml as a whole: every section checked, and what one section says of another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from synthbridge.clip.settings import ClipTuningSettings, RetrievedSettings
from synthbridge.core.settings import Settings, check_settings, read_yaml
from synthbridge.data.manifests import MAX_SHOTS, NUM_FEW_SHOT_SEEDS
from synthbridge.data.settings import DatasetSettings
from synthbridge.diffusion.settings import (
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    count_steps,
)
from synthbridge.evidence.settings import ExamineSettings, ReportSettings
from synthbridge.training.settings import (
    Legs,
    LegSettings,
    ProbeSettings,
    RealLegSettings,
    StageOneSettings,
    TrainingSettings,
)
from synthbridge.upstream.settings import UpstreamSettings

PARAMS = Path("params.yaml")
SHOTS_RULE = f"1 to {MAX_SHOTS}, or full"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # part of DVC stage names


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
    shots: Annotated[list[int | str], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    sets: list[Name]  # all that train models; none: real images alone
    generated_sets: list[Name]
    retrieved_sets: list[Name]
    synthetic: dict[Name, SyntheticSettings]
    retrieved: dict[Name, RetrievedSettings]
    invert: InversionSettings
    generate: SamplingSettings
    examine: ExamineSettings
    training: TrainingSettings
    stage_one: dict[Name, StageOneSettings]
    real_leg: RealLegSettings
    arms: ArmFamilies
    clip_tuning: ClipTuningSettings
    probe: ProbeSettings
    report: ReportSettings

    @model_validator(mode="after")
    def _lists_fit(self) -> "Params":
        for shots in self.shots:
            if not _are_shots(shots):
                raise ValueError(f"shots holds {shots!r}; choose from {SHOTS_RULE}")
        for seed in self.seeds:
            if not 0 <= seed < NUM_FEW_SHOT_SEEDS:
                raise ValueError(f"seeds holds {seed}; choose from 0 to {NUM_FEW_SHOT_SEEDS - 1}")
        lists = {
            "datasets": self.datasets,
            "sets": self.sets,
            "shots": self.shots,
            "seeds": self.seeds,
            "clip_tuning.sets": self.clip_tuning.sets,
        }
        for name, values in lists.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} is {values}; name each one once")
        for dataset in self.datasets:
            _check_group("datasets", dataset, "data", self.data)
        return self

    @model_validator(mode="after")
    def _sets_fit(self) -> "Params":
        if self.generated_sets and self.upstream.generator is None:
            raise ValueError(
                f"generated_sets holds {_list(self.generated_sets)}, but upstream.generator is "
                "null, so that nothing can draw them; name a generator, or run 'python src sets "
                f"remove {' '.join(self.generated_sets)}'"
            )
        for name in self.generated_sets:
            _check_group("generated_sets", name, "synthetic", self.synthetic)
        for name in self.retrieved_sets:
            _check_group("retrieved_sets", name, "retrieved", self.retrieved)
            if name in self.synthetic:
                raise ValueError(f"'{name}' is a group of synthetic and of retrieved; rename one")
        parts = [*self.generated_sets, *self.retrieved_sets]
        if sorted(parts) != sorted(self.sets):
            raise ValueError(
                f"sets is {self.sets}, but generated_sets and retrieved_sets together are {parts}; "
                "name each set in one of the two and run 'python src sets', which writes sets"
            )
        if self.training.normalisation == "synthetic" and not self.sets:
            raise ValueError(
                "training.normalisation is 'synthetic', but sets is empty, so there is no "
                "synthetic image to measure; choose backbone or real"
            )
        if self.sets and self.upstream.clip is None:
            raise ValueError(
                f"upstream.clip is null, but sets holds {_list(self.sets)}, and a set is looked "
                "through with CLIP for test images; name one there (docs/models.md)"
            )
        for name, settings in self.synthetic.items():
            try:
                count_steps(self.generate.num_steps, settings.image_strength)
            except ValueError as error:
                raise ValueError(f"synthetic.{name}: {error}") from None
            if settings.shots is not None and not name.endswith(f"_{settings.shots}"):
                raise ValueError(
                    f"synthetic.{name} sees {settings.shots} shots; "
                    f"let its name end in _{settings.shots}, so that reports can say so"
                )
            if settings.shots is not None and not _are_shots(settings.shots):
                raise ValueError(
                    f"synthetic.{name}.shots is {settings.shots}; choose from {SHOTS_RULE}"
                )
        return self

    @model_validator(mode="after")
    def _retrieval_has_a_pool(self) -> "Params":
        for name in self.retrieved_sets:
            if self.retrieved[name].pool is None and self.upstream.pool is None:
                raise ValueError(
                    f"retrieved.{name}.pool is null, the upstream's, but upstream.pool is null "
                    "too; name a folder of captioned images (docs/retrieval.md)"
                )
        return self

    @model_validator(mode="after")
    def _clip_tuning_fits(self) -> "Params":
        for name in self.clip_tuning.sets:
            if name not in self.sets:
                raise ValueError(
                    f"clip_tuning.sets holds '{name}', which sets does not; add it there, or "
                    "leave it out here"
                )
        return self

    @model_validator(mode="after")
    def _arms_fit(self) -> "Params":
        for family, arms in self.arms:
            for arm, legs in arms.items():
                if arm.startswith("clip_"):
                    raise ValueError(
                        f"arms.{family}.{arm} begins with clip_, as the arms of CLIP classifier "
                        "tuning do; call it otherwise"
                    )
                for number, leg in enumerate(legs):
                    self._check_leg(f"arms.{family}.{arm}, leg {number + 1}", family, number, leg)
        names = [arm for _, arms in self.arms for arm in arms]
        if self.report.primary_arm not in names:
            raise ValueError(
                f"report.primary_arm is '{self.report.primary_arm}'; choose from {_list(names)}"
            )
        return self

    def _check_leg(self, where: str, family: str, number: int, leg: LegSettings) -> None:
        for name in (leg.stage_one, leg.add_steps_of):
            if name is not None and name not in self.stage_one:
                raise ValueError(
                    f"{where}, names stage one '{name}'; choose from {_list(self.stage_one)}"
                )
        if (leg.stage_one is not None) != (family == "bridged" and number == 0):
            raise ValueError(
                f"{where}: the first leg of a bridged arm names its stage_one, and no other does"
            )
        if leg.train_on in ("mixed", "synthetic") and family != "mixed":
            raise ValueError(
                f"{where}, trains on {leg.train_on} images; move the arm to arms.mixed"
            )

    def set_settings(self, name: str) -> SyntheticSettings | RetrievedSettings:
        """Return the settings of a set, generated or retrieved."""
        return self.retrieved[name] if name in self.retrieved_sets else self.synthetic[name]


def _are_shots(shots: int | str) -> bool:
    """Say whether a run can see so many images: a ranking lists the first 64 of each class."""
    return shots == "full" or (isinstance(shots, int) and 1 <= shots <= MAX_SHOTS)


def _check_group(listed_in: str, name: str, section: str, groups: Mapping) -> None:
    if name not in groups:
        raise ValueError(
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
