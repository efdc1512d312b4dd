"""The check of a language model's lines: what is no usable prompt is kept out, for a named reason.

It reads no meaning: a sentence that names the class and is otherwise beside the point passes.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

ECHO_WORDS = 6  # in a row shared with the instruction
MIN_DISTINCT = 0.7  # of a line's words: below that it repeats itself
LONGEST_WORD = 24  # letters, outside the class's name
CHATTER = (
    "sure|here is|here are|here's|as an ai|i|certainly|of course|note|sorry|prompt|prompts"
    "|the following|please"
)
STARTS_WITH_CHATTER = re.compile(rf"(?:{CHATTER})(?![\w-])")  # in lower case
# Words that a phrase of English about a picture cannot do without: one of them must be there.
LINKS = frozenset(
    {"a", "an", "the"}
    | {"of", "in", "on", "at", "with", "by", "near", "under", "over", "against"}
    | {"beside", "among", "from", "through", "behind"}
)
WORD = r"[^\W\d_]+(?:['-][^\W\d_]+)*"


@dataclass(frozen=True)
class LineRules:
    """How long a line may be, and whether it must be more than a name."""

    min_words: int
    max_words: int
    needs_link: bool  # one of LINKS: a prompt has, a sense such as `crane bird` may lack it


RULES = {  # of the lines that a language model is asked for
    "contextual": LineRules(min_words=5, max_words=30, needs_link=True),
    "stylised": LineRules(min_words=5, max_words=30, needs_link=True),
    "senses": LineRules(min_words=2, max_words=8, needs_link=False),
}


def clean_line(line: str) -> str:
    """Take list marks, quotes, the full stop at the end and double spaces off a line."""
    line = line.replace("\u2019", "'").replace("\u2013", "-").replace("\u2014", "-")
    line = re.sub(r"^\s*(?:[-*\u2022]+|\(?\d{1,3}[.):]\)?)\s+", "", line)
    return " ".join(line.strip().strip("\"'`\u201c\u201d").rstrip(".").split())


def find_fault(
    line: str, class_name: str, *, rules: LineRules, instruction: str, kept: Collection[str]
) -> str | None:
    """Say why a clean line is refused, in a few words that can be counted; None: it is good.

    Args:
        line: as `clean_line` leaves it.
        class_name: what the line must name, whole words, in any case.
        rules: for lines of this kind.
        instruction: what the model was told.
        kept: lines that were taken for this class before.
    """
    name, low = class_name.casefold(), line.casefold()
    named = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", low)
    if not named:
        return "does not name the class"
    rest = (low[: named.start()] + " " + low[named.end() :]).strip()
    words = re.findall(WORD, rest)
    count = len(words) + len(name.split())
    if not rules.min_words <= count <= rules.max_words:
        return "too short or too long"
    if STARTS_WITH_CHATTER.match(low) or line.endswith((":", "?", "!")):
        return "talks about the task"
    if not _is_written_in_words(rest, words):
        return "is not written in words"
    if _repeats_itself(words):
        return "repeats itself"
    if _echoes(words, instruction, name):
        return "echoes the instruction"
    if rules.needs_link and not LINKS & set(words):
        return "is no phrase"
    return "was there before" if low in {old.casefold() for old in kept} else None


def _is_written_in_words(rest: str, words: list[str]) -> bool:
    """Say whether a line's rest is Latin letters, figures and a few marks, in words like words."""
    if re.search(r"[^a-zà-öø-ÿœ0-9 ,;'\"()/&-]", rest):
        return False
    return all(len(word) <= LONGEST_WORD and _can_be_spoken(word) for word in words)


def _can_be_spoken(word: str) -> bool:
    return len(word) <= 2 or re.search(r"[aeiouyà-öø-ÿœ]", word) is not None


def _repeats_itself(words: list[str]) -> bool:
    """Say whether a word follows itself, or too few of the longer words differ."""
    if any(first == second for first, second in pairwise(words)):
        return True
    content = [word for word in words if word not in LINKS]
    return len(set(content)) < MIN_DISTINCT * len(content)


def _echoes(words: list[str], instruction: str, name: str) -> bool:
    """Say whether six words in a row, the class left out, stand in the instruction too."""
    told = re.findall(WORD, instruction.casefold().replace(name, " "))
    runs = {tuple(told[i : i + ECHO_WORDS]) for i in range(len(told) - ECHO_WORDS + 1)}
    return any(tuple(words[i : i + ECHO_WORDS]) in runs for i in range(len(words) - ECHO_WORDS + 1))
