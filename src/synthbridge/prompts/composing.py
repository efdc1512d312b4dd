"""Composing: patterns and phrases become the candidate prompts of a class.

Reconstruction of Diversify's contextualised and stylised prompts: its own, written by a language
model, are not public.
"""

import re
from collections.abc import Sequence

from synthbridge.core.files import hash_value
from synthbridge.prompts.lists import CLASS, PromptLists

NUM_CANDIDATES = 100  # prompts a class; chosen: each serves ten of a thousand images


def compose_prompts(
    lists: PromptLists, kind: str, class_name: str, *, called: str, superclass: str | None
) -> list[str]:
    """Return up to 100 prompts of one class, each phrase of a field about equally often.

    Prompt n takes the n-th pattern and the n-th phrase of each field, in orders that a hash of
    the class's name shuffles: no randomness, and no class changes those of another.

    Args:
        lists: patterns and phrases.
        kind: "contextual" or "stylised".
        class_name: as the data set has it; decides which phrases fit.
        called: what the prompts call it: its name or a sense of it.
        superclass: added to that, as in `a cat, a type of pet`; or None.
    """
    patterns = _shuffled_rounds(getattr(lists, kind), [class_name, kind])
    fields = {
        name: _shuffled_rounds(phrases, [class_name, kind, name])
        for name, phrases in lists.fields_for(class_name).items()
    }
    prompts = []
    for number, pattern in enumerate(patterns):
        for name, phrases in fields.items():
            pattern = pattern.replace(f"{{{name}}}", phrases[number])
        prompts.append(fill_class(pattern, called, superclass))
    return list(dict.fromkeys(prompts))


def fill_class(pattern: str, called: str, superclass: str | None) -> str:
    """Put a class into a pattern: `a photo of a cat, a type of pet, on a sofa`.

    A noun that the class ends in already stands once: `a {class} dog` of the Maltese dog is `a
    Maltese dog`. Words within a class's name stay as they are.
    """
    before, _, after = pattern.partition(f"{{{CLASS}}}")
    for name in (called, superclass or ""):
        noun = re.search(r"\w+$", name)
        if noun and (again := re.match(rf" {noun[0]}(?![\w-])", after, re.IGNORECASE)):
            after = after[again.end() :]
    if superclass is None:
        return before + called + after
    comma = "," if after.startswith(" ") else ""  # closes what the first comma opens
    return f"{before}{called}, a type of {superclass}{comma}{after}"


def _shuffled_rounds(values: Sequence[str], salt: list[str]) -> list[str]:
    """Return 100 of `values`: rounds of all of them, each in an order of its own."""
    rounds = -(-NUM_CANDIDATES // len(values))
    drawn = [
        value
        for number in range(rounds)
        for value in sorted(values, key=lambda value: hash_value([*salt, number, value]))
    ]
    return drawn[:NUM_CANDIDATES]
