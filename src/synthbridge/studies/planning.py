"""From a point of a study to the experiment that makes it, or to what is there already.

DVC knows which stages would run anew, but only with the params.yaml that lies there. A study asks
this of a hundred variants before any of them runs: which stages are new, which two variants share,
what is there already. So each stage gets a key that changes when anything it depends on changes.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_file, hash_value
from synthbridge.core.settings import read_yaml
from synthbridge.pipeline import Stage, Values, expand, needed_stages, value_at
from synthbridge.studies.definition import Point, Scale
from synthbridge.studies.experiments import PREFIX, Experiment, set_options

NAME_DIGITS = 12


@dataclass(frozen=True)
class Planned:
    """A point and what it takes."""

    point: Point
    params: Mapping[str, Any]  # params.yaml as the experiment has it
    metrics: tuple[str, ...]  # the files that hold what it found
    new_stages: tuple[str, ...]  # those whose key differs from the workspace's
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
        """Leave out values that the workspace already has."""
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


def with_overrides(params: Values, overrides: Values) -> dict[str, Any]:
    """Return params with the values of `overrides`, by dotted key, in place of its own."""
    changed = copy.deepcopy(dict(params))
    for key, value in overrides.items():
        *parents, last = key.split(".")
        group = changed
        for parent in parents:
            group = group.setdefault(parent, {})
        group[last] = copy.deepcopy(value)
    return changed


class Keys:
    """Keys of stages: equal where command, values, code and all that lies above are equal."""

    def __init__(self, raw: Mapping[str, str], root: Path = Path()):
        """Take the hashes of raw data by path, as dvc.lock has them, and the repository."""
        self.raw, self.root = raw, root
        self._code: dict[str, str] = {}

    def of(self, stages: Mapping[str, Stage], names: Sequence[str], params: Values) -> dict:
        """Return the key of every stage of `names`, which `needed_stages` ordered."""
        keys: dict[str, str] = {}
        makers = {out: stage.name for stage in stages.values() for out in stage.outs}
        for name in names:
            stage = stages[name]
            deps = {
                dep: keys[makers[dep]] if dep in makers else self._hash(dep) for dep in stage.deps
            }
            values = {key: value_at(params, key) for key in stage.params}
            keys[name] = hash_value([stage.cmd, values, deps])
        return keys

    def _hash(self, path: str) -> str:
        if path in self.raw:
            return self.raw[path]
        if path not in self._code:
            self._code[path] = _hash_code(self.root / path)
        return self._code[path]


def _hash_code(path: Path) -> str:
    """Hash a file or a folder, without what Python leaves in it."""
    if path.is_file():
        return hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hash_value(
        [
            (file.relative_to(path).as_posix(), hash_file(file))
            for file in files
            if "__pycache__" not in file.parts
        ]
    )


def raw_hashes(lock: Values) -> dict[str, str]:
    """Return the hashes of the raw data that the stages of dvc.lock have read, by path."""
    return {
        dep["path"]: dep["md5"]
        for stage in lock.get("stages", {}).values()
        for dep in stage.get("deps", [])
        if dep["path"].startswith("data/raw/")
    }
