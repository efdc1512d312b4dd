"""From a point of a study to the experiment that makes it, or to what is there already."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_value
from synthbridge.core.settings import read_yaml
from synthbridge.pipeline import expand, needed_stages, value_at
from synthbridge.studies.definition import Point, Scale
from synthbridge.studies.experiments import PREFIX, Experiment, set_options
from synthbridge.studies.stage_keys import Keys, raw_hashes, with_overrides

NAME_DIGITS = 12


@dataclass(frozen=True)
class Planned:
    """A point and what it takes."""

    point: Point
    params: Mapping[str, Any]  # params.yaml as the experiment has it
    metrics: tuple[str, ...]  # the files that hold what it found
    new_stages: tuple[str, ...]  # which it makes otherwise than the workspace
    experiment: Experiment | None  # None: the workspace itself has it


class Workspace:
    """The repository's own params.yaml and dvc.yaml, from which every experiment starts."""

    def __init__(self, root: Path = Path()):
        """Read them, and key every stage."""
        self.params = read_yaml(root / "params.yaml")
        self.pipeline = read_yaml(root / "dvc.yaml")
        lock = root / "dvc.lock"
        self._keys = Keys(raw_hashes(read_yaml(lock) if lock.is_file() else {}), root)
        self.stages = expand(self.pipeline, self.params)
        own = self._keys.of(self.stages, needed_stages(self.stages, self.stages), self.params)
        self._own = set(own.values())

    def plan(self, scale: Scale, point: Point) -> Planned:
        """Return what a point takes.

        Raises:
            ValueError: if a target is no stage with the point's settings.
        """
        wanted = for_datasets({**scale.overrides, **point.overrides}, self.params["datasets"])
        overrides = self._real_overrides(wanted)
        params = with_overrides(self.params, overrides)
        stages = expand(self.pipeline, params)
        patterns = scale.targets if point.targets is None else point.targets
        targets = list(for_datasets(dict.fromkeys(patterns), params["datasets"]))
        names = needed_stages(stages, targets or self.stages)
        keys = self._keys.of(stages, names, params)
        new = {name: key for name, key in keys.items() if key not in self._own}
        metrics = tuple(path for name in targets or names for path in _runs(stages[name].metrics))
        experiment = None
        if new:
            exists = {key: value_at(self.params, key) for key in overrides if self._has(key)}
            experiment = Experiment(
                name=PREFIX + hash_value({name: keys[name] for name in targets})[:NAME_DIGITS],
                targets=tuple(targets),
                options=tuple(set_options(overrides, exists)),
                metrics=metrics,
                keys=frozenset(new.values()),
            )
        return Planned(point, params, metrics, tuple(new), experiment)

    def _real_overrides(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what the workspace has anyway."""
        return {
            key: value
            for key, value in overrides.items()
            if not self._has(key) or value_at(self.params, key) != value
        }

    def _has(self, key: str) -> bool:
        parent, _, last = key.rpartition(".")
        group = value_at(self.params, parent) if parent else self.params
        return isinstance(group, Mapping) and last in group


def for_datasets(values: Mapping[str, Any], datasets: list[str]) -> dict[str, Any]:
    """Repeat what has {dataset} in its key for every data set."""
    return {
        key.replace("{dataset}", name): value for key, value in values.items() for name in datasets
    }


def _runs(metrics: tuple[str, ...]) -> list[str]:
    """Keep the metrics that studies read."""
    return [path for path in metrics if path.split("/")[2:3] == ["runs"]]


def points_of(scale: Scale) -> list[Point]:
    """List a scale's points, the reference first; none: the workspace as it is."""
    reference = [scale.reference] if scale.reference else []
    return [*reference, *scale.points] or [Point()]
