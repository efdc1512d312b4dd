"""Settings: sections of params.yaml, read by DVC's rules and checked when made."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import core_schema
from ruamel.yaml import YAML, YAMLError

# Keys of params.yaml that have had another name.
RENAMED = {
    "guided_share": "guided_fraction",
    "keep_share": "keep_fraction",
    "primary_arm": "primary",
    "style_share": "style_fraction",
    "synthetic_share": "synthetic_fraction",
}


class Settings(BaseModel):
    """A section of params.yaml: frozen, every key known and none missing, no type guessed.

    Numbers are finite: YAML's `.inf` and `.nan` are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


T = TypeVar("T")


@dataclass(frozen=True)
class ChosenBy:
    """Marks a group that is one of several classes of settings: `Annotated[A | B, ChosenBy(f)]`.

    pydantic's own unions would name the class in the path of every fault below the group.
    """

    choose: Callable[[Any], type[Settings]]  # from the group's values, before they are checked

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Check the group as the class that its values choose."""
        return core_schema.no_info_plain_validator_function(
            lambda values: (
                values
                if isinstance(values, Settings)
                else self.choose(values).model_validate(values)
            )
        )


def is_commit(revision: str | None) -> bool:
    """Say whether a revision of the hub is a commit, the one kind that cannot move."""
    return re.fullmatch(r"[0-9a-f]{40}", revision or "") is not None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file as DVC does: YAML 1.2, where `1e-4` is a float (PyYAML makes it a string).

    Raises:
        ValueError: if the file is not YAML, names a key twice, or is no mapping.
    """
    try:
        values = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no settings; restore it with 'git checkout -- {path}'")
    return values


def check_settings(kind: type[T], values: Any, where: str, file: str = "params.yaml") -> T:
    """Make `kind` from `values`, the part of `file` called `where`.

    Raises:
        ValueError: one sentence a fault, naming the key, the value and the rule.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = [_sentence(fault, kind, where, file, values) for fault in error.errors()]
        raise ValueError(one_message(faults)) from None


def one_message(faults: Sequence[str]) -> str:
    """Return the sentences of several faults as one message: a line each."""
    return faults[0] if len(faults) == 1 else "".join(f"\n  {fault}" for fault in faults)


def _sentence(fault: Any, kind: Any, where: str, file: str, values: Any) -> str:
    """Say what is wrong with one value, and the way out."""
    path = ".".join(str(part) for part in (where, *fault["loc"]) if part != "")
    if fault["type"] == "extra_forbidden":
        if new := RENAMED.get(str(fault["loc"][-1])):
            return f"{file}: {path} is now called {new}; rename it"
        known = _known_keys(kind, fault["loc"][:-1], values)
        return f"{file}: {path} is not a known key; {known}"
    if fault["type"] == "missing":
        return f"{file}: {path} is missing; add it"
    if fault["type"] == "model_type":
        return (
            f"{file}: {path} is {fault['input']!r}; it should be a group of settings, a key and a "
            "value in each line below it"
        )
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):
        about = f"{file}: {path}: " if path else f"{file}: "
        return about + fault["msg"].removeprefix("Value error, ")  # the rule names the values
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    return f"{file}: {path} is {fault['input']!r}; {rule}"


def _known_keys(cls: Any, parents: tuple[Any, ...], values: Any) -> str:
    """List the keys that stand beside an unknown one."""
    for name in parents:
        fields = getattr(cls, "model_fields", {})
        if name not in fields:
            return "remove it or correct its name"
        values = values[name]
        cls = _class_of(fields[name].annotation, fields[name].metadata, values)
    known = ", ".join(sorted(getattr(cls, "model_fields", {})))
    return f"choose from {known}" if known else "remove it or correct its name"


def _class_of(annotation: Any, marks: Sequence[Any], values: Any) -> Any:
    """Return the class that a group with `values` was checked as, or None."""
    choices = [annotation, *get_args(annotation)]  # of A | None; A may carry marks of its own
    marks = [*marks, *(mark for part in choices for mark in getattr(part, "__metadata__", ()))]
    for mark in marks:
        if isinstance(mark, ChosenBy):
            return mark.choose(values)
    return next((part for part in choices if hasattr(part, "model_fields")), None)


class Sections:
    """params.yaml, read once: a stage takes the sections that dvc.yaml lists among its params."""

    def __init__(self, path: Path = Path("params.yaml")):
        """Read the file.

        Raises:
            ValueError: if it is not YAML.
        """
        self.values = read_yaml(path)

    def read(self, kind: type[T], section: str) -> T:
        """Return one section.

        Args:
            kind: what it holds: a class of settings, or a type such as `list[int]`.
            section: its key, which may be dotted (`synthetic.dsi_4`).

        Raises:
            ValueError: if the section is missing or does not fit `kind`.
        """
        values: Any = self.values
        for name in section.split("."):
            if not isinstance(values, dict) or name not in values:
                raise ValueError(f"params.yaml has no section '{section}'; add it")
            values = values[name]
        return check_settings(kind, values, section)
