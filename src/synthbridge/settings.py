"""Settings: sections of params.yaml, read by DVC's rules and checked when made."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML, YAMLError


class Settings(BaseModel):
    """A section of params.yaml: frozen, every key known and none missing, no type guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


S = TypeVar("S", bound=Settings)


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


def check_settings(cls: type[S], values: Any, where: str, file: str = "params.yaml") -> S:
    """Make `cls` from `values`, the part of `file` called `where`.

    Raises:
        ValueError: one sentence a fault, naming the key, the value and the rule.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(fault, cls, where, file) for fault in error.errors()]
        raise ValueError("; ".join(faults)) from None


def _sentence(fault: Any, cls: type[Settings], where: str, file: str) -> str:
    """Say what is wrong with one value, and the way out."""
    path = ".".join(str(part) for part in (where, *fault["loc"]) if part != "")
    if fault["type"] == "extra_forbidden":
        return f"{file}: {path} is not a known key; {_known_keys(cls, fault['loc'][:-1])}"
    if fault["type"] == "missing":
        return f"{file}: {path} is missing; add it"
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):
        about = f"{file}: {path}: " if path else f"{file}: "
        return about + fault["msg"].removeprefix("Value error, ")  # the rule names the values
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    return f"{file}: {path} is {fault['input']!r}; {rule}"


def _known_keys(cls: Any, parents: tuple[Any, ...]) -> str:
    """List the keys that stand beside an unknown one."""
    for name in parents:
        fields = getattr(cls, "model_fields", {})
        if name not in fields:
            return "remove it or correct its name"
        cls = fields[name].annotation
    known = ", ".join(sorted(getattr(cls, "model_fields", {})))
    return f"choose from {known}" if known else "remove it or correct its name"


def read_section(cls: type[S], section: str, path: Path = Path("params.yaml")) -> S:
    """Read one section of params.yaml; `section` may be dotted (`synthetic.dsi_4`).

    Raises:
        ValueError: if the section is missing or does not fit `cls`.
    """
    values: Any = read_yaml(path)
    for name in section.split("."):
        if not isinstance(values, dict) or name not in values:
            raise ValueError(f"params.yaml has no section '{section}'; add it")
        values = values[name]
    return check_settings(cls, values, section)
