"""What an experiment computes: its stages, and a key for each that changes when anything does.

DVC knows the same, but only of the params.yaml that lies there. A study asks of a hundred variants
before any runs: which stages would run anew, which two variants share, what is there already.
"""

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.files import hash_file, hash_value

Values = Mapping[str, Any]

GIVEN = ("data/raw/", "data/prompts")  # put there by a person, or by git


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml with its matrix filled in."""

    name: str
    cmd: str
    params: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]


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


def value_at(params: Values, key: str) -> Any:
    """Return the value of a dotted key; None if there is none."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def expand(pipeline: Values, params: Values) -> dict[str, Stage]:
    """Return the stages of dvc.yaml by name, as DVC calls them.

    Args:
        pipeline: what dvc.yaml holds. Of DVC's templates `${item.name}`, and `${list}` as the
            items of a matrix, are known; more is not used here.
        params: what params.yaml holds.
    """
    stages = {}
    for name, body in pipeline["stages"].items():
        matrix = {
            key: value_at(params, items[2:-1]) if isinstance(items, str) else items
            for key, items in body.get("matrix", {}).items()
        }
        for items in itertools.product(*(values or [] for values in matrix.values())):
            full_name = f"{name}@{'-'.join(map(str, items))}" if matrix else name
            chosen = dict(zip(matrix, items, strict=True))
            stages[full_name] = _stage(full_name, body, chosen)
    return stages


def _stage(name: str, body: Values, items: Values) -> Stage:
    def fill(text: str) -> str:
        for key, item in items.items():
            text = text.replace(f"${{item.{key}}}", str(item))
        return text

    def paths(kind: str) -> tuple[str, ...]:
        entries = body.get(kind, [])
        return tuple(fill(path) for entry in entries for path in _names(entry))

    outs = (*paths("outs"), *paths("metrics"), *paths("plots"))
    return Stage(
        name, fill(body["cmd"]), paths("params"), paths("deps"), outs, paths("metrics")
    )  # fmt: skip


def _names(entry: str | Values) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry)


def needed_stages(stages: Mapping[str, Stage], targets: Iterable[str]) -> list[str]:
    """List the targets and all stages above them, those above first.

    Raises:
        ValueError: if a target is no stage, or a dep under data/ is nobody's out.
    """
    makers = {out: stage.name for stage in stages.values() for out in stage.outs}
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name not in stages:
            raise ValueError(f"'{name}' is no stage of dvc.yaml with these params")
        for dep in stages[name].deps:
            if dep in makers:
                visit(makers[dep])
            elif dep.startswith("data/") and not dep.startswith(GIVEN):
                raise ValueError(f"stage {name} reads {dep}, which no stage makes")
        order.append(name)

    for target in targets:
        visit(target)
    return order


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
