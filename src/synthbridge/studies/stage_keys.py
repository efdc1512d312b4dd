"""What an experiment computes: its stages, and a key for each that changes when anything does.

DVC knows the same, but only of the params.yaml that lies there. A study asks of a hundred variants
before any runs: which stages would run anew, which two variants share, what is there already.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_file, hash_value
from synthbridge.pipeline import Stage, Values, value_at


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
