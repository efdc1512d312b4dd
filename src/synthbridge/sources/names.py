"""Names of classes: an order that lasts, and words that a prompt can use.

A class is known by its key: the name of its folder, or its label in a file. Classes are ordered by
their keys in natural order ("class 2" before "class 10", capitals before small letters), so that
a class's index depends on the set of keys alone, never on the order in which a disk lists folders.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from synthbridge.core.log import say
from synthbridge.data.found_files import read_text

NAMES_FILE = "names.yaml"
SUPERCLASS = "superclass"  # the one key of names.yaml that is no class

IMAGENET_ID = r"n\d{8}"
NUMBERING = r"(\d+)([\s._-]+)(?=[^\W\d_])"  # a letter follows: "0-2 years" and "0.25 mm" have none


def natural_order(key: str) -> tuple:
    """Return what sorts keys with their numbers by value; ties by the key itself."""
    parts = re.split(r"([0-9]+)", key)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], key


def order_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the different keys in natural order."""
    return tuple(sorted(set(keys), key=natural_order))


def class_names(keys: Sequence[str], raw: Path) -> tuple[str, ...]:
    """Name the classes for prompts: from names.yaml in `raw` where it says so, else from the keys.

    names.yaml maps keys to names; its optional key `superclass` is appended to every name
    ("aircraft": "Boeing 707" -> "Boeing 707 aircraft") or, with {}, filled ("a {} flower").

    Raises:
        ValueError: if names.yaml is wrong, or two classes would have the same name.
    """
    given, template = _read_names(raw / NAMES_FILE, keys)
    numbered = is_numbering(keys)
    names = [given.get(key) or readable_name(key, numbered=numbered) for key in keys]
    unreadable = [n for n in names if re.fullmatch(rf"{IMAGENET_ID}|\d+", n)]
    if unreadable:
        say(
            f"  {len(unreadable)} classes have no name but a number ('{unreadable[0]}'): prompts "
            f"would say it; give their names in {raw / NAMES_FILE}"
        )
    _check_different(keys, names, raw)
    return tuple(template.format(name) for name in names)


def is_numbering(keys: Sequence[str]) -> bool:
    """Say whether the numbers before all names count the classes ("001.Name", "002.Other").

    They count if they differ and are written with leading zeros, or go from 0 or 1 to the last
    without a gap and no mere space follows ("1 cent", "2 euro"). What is left must tell the
    classes apart: "1_cent", "2_cent" are names.
    """
    found = [re.match(NUMBERING, key) for key in keys]
    matches = [match for match in found if match]
    numbers = sorted(int(match[1]) for match in matches)
    rests = {key[match.end() :] for key, match in zip(keys, matches, strict=False)}
    if len(matches) < len(keys) or len(set(numbers)) < len(keys) or len(rests) < len(keys):
        return False
    padded = len({len(match[1]) for match in matches}) == 1
    padded = padded and any(match[1].startswith("0") and len(match[1]) > 1 for match in matches)
    counted = numbers in ([*range(len(keys))], [*range(1, len(keys) + 1)])
    return padded or (counted and all(match[2].strip() for match in matches))


def readable_name(key: str, *, numbered: bool) -> str:
    """Turn a class's key into words: "001.Black_footed_Albatross" -> "Black footed Albatross".

    Underscores become spaces, camel case is parted, an ImageNet id before a name is cut off;
    hyphens stay ("T-shirt").

    Args:
        key: the folder's name or label.
        numbered: does a number before every class count them? Then it is cut off; else it
            belongs to the name ("3-wheeler").
    """
    name = unicodedata.normalize("NFC", key)
    name = re.sub(rf"^{IMAGENET_ID}[\s._-]+(?=\S)", "", name)
    if numbered:
        name = re.sub(rf"^{NUMBERING}", "", name)
    name = re.sub(r"(?<=[a-z]{2})(?=[A-Z][a-z])", " ", name.replace("_", " "))
    return " ".join(name.split()) or key


def _read_names(path: Path, keys: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the names that names.yaml gives, by key, and the template of the super-class."""
    other = path.with_suffix(".yml")
    if other.is_file():
        raise ValueError(f"{other} is not read; call it {path.name}")
    if not path.is_file():
        return {}, "{}"
    names = _read_texts(path)
    for key, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{path}: '{key}' has no name; write '{key}: NAME' or remove the line")
        if key != SUPERCLASS and key not in keys:
            raise ValueError(
                f"{path}: '{key}' is no class; the classes are {', '.join(keys[:5])}"
                f"{', ...' if len(keys) > 5 else ''}"
            )
    template = names.pop(SUPERCLASS, "{}")
    if "{}" not in template:
        template = "{} " + template
    if template.replace("{}", "", 1).count("{") or template.count("}") > 1:
        raise ValueError(
            f"{path}: {SUPERCLASS} is '{template}'; write a word, or a text with {{}} once"
        )
    return names, template


def _read_texts(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with every key and value as the text that stands there.

    YAML would make a number of the folder `0`, and a null of `null`.
    """
    try:
        names = YAML(typ="base").load(read_text(path))
    except YAMLError as error:
        fault = " ".join(str(error).partition("To suppress")[0].split())
        raise ValueError(f"{path} is not valid YAML: {fault}") from None
    if not names:  # empty, or comments alone
        return {}
    if not isinstance(names, dict):
        raise ValueError(f"{path} holds no names; write a line 'folder: name' for each class")
    return names


def _check_different(keys: Sequence[str], names: Sequence[str], raw: Path) -> None:
    """Refuse two classes that a prompt could not tell apart."""
    first: dict[str, str] = {}
    for key, name in zip(keys, names, strict=True):
        other = first.setdefault(name.casefold(), key)
        if other != key:
            raise ValueError(
                f"classes '{other}' and '{key}' have the same name '{name}'; "
                f"rename one of them in {raw / NAMES_FILE}"
            )
