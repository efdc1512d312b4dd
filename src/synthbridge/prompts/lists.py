"""Prompt lists on disk: those that ship, and people's own prompts. docs/prompts.md has both."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from pydantic import Field, model_validator
from ruamel.yaml import YAML, YAMLError

from synthbridge.core.settings import Settings, check_settings

CLASS = "class"  # the field of a pattern that the class's name fills

Phrase = Annotated[str, Field(min_length=1)]
Phrases = Annotated[list[Phrase], Field(min_length=1)]
Fields = dict[str, Phrases]
Senses = dict[str, Annotated[list[Phrase], Field(min_length=2)]]


class ClassGroup(Settings):
    """Classes that some fields are filled for in other words than for the rest."""

    classes: Phrases
    fields: Fields


class PromptLists(Settings):
    """A file of lists: patterns with fields, and what may fill each field."""

    senses: Senses = Field(default={})  # of ambiguous names, each a noun phrase
    fields: Fields = Field(default={})
    # Patterns such as "a photo of a {class} {background}, {lighting}".
    contextual: list[Phrase] = Field(default=[])
    stylised: list[Phrase] = Field(default=[])
    # Of two groups that hold a class the later one counts, field by field.
    groups: list[ClassGroup] = Field(default=[])

    @model_validator(mode="after")
    def _fields_fit(self) -> "PromptLists":
        for pattern in (*self.contextual, *self.stylised):
            named = _fields_of(pattern)
            if named.count(CLASS) != 1:
                raise ValueError(f"pattern '{pattern}' must hold {{class}} once")
            for name in named:
                if name != CLASS and name not in self.fields:
                    raise ValueError(f"pattern '{pattern}' holds {{{name}}}, no group of fields")
        for group in self.groups:
            for name in group.fields:
                if name not in self.fields:
                    raise ValueError(f"groups: {name} of '{group.classes[0]}' is none of fields")
        return self

    def fields_for(self, class_name: str) -> dict[str, list[str]]:
        """Return what may fill each field in prompts of a class."""
        fields = dict(self.fields)
        for group in self.groups:
            if class_name in group.classes:
                fields.update(group.fields)
        return fields

    def unknown_classes(self, class_names: Sequence[str]) -> list[str]:
        """List the classes that the file names and the data set lacks, in order."""
        named = [name for group in self.groups for name in group.classes]
        return sorted({*named, *self.senses} - set(class_names))


def _fields_of(pattern: str) -> list[str]:
    """List the fields of a pattern.

    Raises:
        ValueError: if a brace stands alone.
    """
    try:
        return [name for _, name, _, _ in Formatter().parse(pattern) if name is not None]
    except ValueError as error:
        raise ValueError(f"pattern '{pattern}': {error}; write fields as {{name}}") from None


def read_lists(path: Path) -> PromptLists:
    """Read a file of lists.

    Raises:
        ValueError: if it is no YAML, or not as `PromptLists` has it.
    """
    return check_settings(PromptLists, _read_texts(path), "", file=str(path))


def read_own_prompts(path: Path, class_names: Sequence[str]) -> list[list[str]]:
    """Read a person's own prompts, YAML or JSON `{class: [prompts]}`: a list for each class.

    Raises:
        ValueError: if a class lacks prompts, or the file names something that is no class.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there; put the prompt file there, or correct prompt_file")
    values = _read_texts(path)
    missing = [name for name in class_names if not values.get(name)]
    if missing:
        raise ValueError(f"{path} has no prompt for {name_some(missing)}; give every class one")
    unknown = [name for name in values if name not in class_names]
    if unknown:
        raise ValueError(
            f"{path} names {name_some(unknown)}, no class of this data set; classes are called as "
            "in class_names of its dataset.json"
        )
    for name, prompts in values.items():
        if not isinstance(prompts, list) or not all(_is_text(prompt) for prompt in prompts):
            raise ValueError(f"{path}: '{name}' has {prompts!r}; write a list of prompts")
    return [[" ".join(prompt.split()) for prompt in values[name]] for name in class_names]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _read_texts(path: Path) -> dict[str, Any]:
    """Read YAML, of which JSON is a part, with every value a text: a class may be called 2012."""
    try:
        values = YAML(typ="base").load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no mapping; docs/prompts.md shows what one looks like")
    return values


def find_lists(folder: Path, dataset: str, source: str) -> Path:
    """Return the file of lists of a data set: its own, else that of its source.

    Raises:
        ValueError: if there is neither, with how to make one.
    """
    for name in (dataset, source):
        if (path := folder / f"{name}.yaml").is_file():
            return path
    raise ValueError(
        f"{folder} has no lists for {dataset} ({dataset}.yaml); write them as docs/prompts.md "
        "shows, or let a language model write prompts: python src write_prompts --model FOLDER "
        f"--dataset {dataset} --out {folder}/{dataset}_contextual.yaml, and take them with "
        f"'prompts: file' and 'prompt_file: {dataset}_contextual.yaml'"
    )


def name_some(names: Sequence[str], most: int = 3) -> str:
    """Quote the first few of `names` and count the rest."""
    rest = len(names) - most
    quoted = [f"'{name}'" for name in names[:most]]
    return ", ".join([*quoted, *([f"{rest} more"] if rest > 0 else [])])
