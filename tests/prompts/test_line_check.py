"""The check keeps nonsense out, each for its reason, and lets good lines through."""

import pytest

from synthbridge.prompts.line_check import RULES, clean_line, find_fault
from synthbridge.prompts.writing import read_instruction

INSTRUCTION = read_instruction("contextual").replace("{class}", "sea lion")


def _fault(line, kind="contextual", kept=(), name="sea lion"):
    return find_fault(line, name, rules=RULES[kind], instruction=INSTRUCTION, kept=kept)


@pytest.mark.parametrize(
    "line",
    [
        "a sea lion resting on wet rocks in evening light",
        "Two Sea Lion pups playing in the surf, seen from a boat",
        "a photo of a sea lion's whiskers in close-up, with the harbour behind it",
        "caf\u00e9 guests watching a sea lion from the pier",
        "notebook with a sea lion on the cover",
        "surely the fattest sea lion on the beach",
        "prompter of a theatre beside a sea lion",
        "pleased visitors in front of a sea lion",
        "sure-footed sea lion climbing on wet rocks",
        "icy shore with a sea lion",
    ],
)
def test_good_lines_pass(line):
    assert _fault(line) is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a seal resting on wet rocks in evening light", "does not name the class"),
        ("an antisea lion resting on wet rocks", "does not name the class"),
        ("sea lion", "too short or too long"),
        ("a sea lion " + "on a wet rock by the sea " * 6, "too short or too long"),
        ("Sure, a sea lion resting on wet rocks", "talks about the task"),
        ("Prompt: a sea lion resting on wet rocks", "talks about the task"),
        ("Prompts of a sea lion resting on wet rocks", "talks about the task"),
        ("note a sea lion resting on wet rocks", "talks about the task"),
        ("I see a sea lion on wet rocks", "talks about the task"),
        ("I'm showing a sea lion on wet rocks", "talks about the task"),
        ("please, a sea lion on wet rocks", "talks about the task"),
        ("Here are captions of a sea lion on rocks:", "talks about the task"),
        ("what does a sea lion do in the water?", "talks about the task"),
        ("a sea lion \u5728\u5ca9\u77f3\u4e0a resting on rocks", "is not written in words"),
        ("a sea lion <b>resting</b> on the rocks", "is not written in words"),
        ("a sea lion xkcdq bnmtr on the rocks", "is not written in words"),
        ("a sea lion on rocks rocks rocks rocks", "repeats itself"),
        ("a sea lion swims, a sea lion swims, swims, swims", "repeats itself"),
        ("captions of photographs that show the subject sea lion", "echoes the instruction"),
        ("sea lion resting calm evening wet rock", "is no phrase"),
    ],
)
def test_a_line_is_refused_for_its_reason(line, fault):
    assert _fault(line) == fault


def test_a_line_that_was_kept_is_refused_in_any_case():
    line = "a sea lion resting on wet rocks"
    assert _fault(line, kept=["A Sea Lion resting on wet rocks"]) == "was there before"


def test_a_sense_is_short_and_need_be_no_phrase():
    assert _fault("sea lion animal", kind="senses") is None
    assert _fault("a sea lion resting on wet rocks in the evening light", kind="senses")


@pytest.mark.parametrize(
    "line",
    [
        "3. a cat on a sofa.",
        "- a cat on a sofa",
        '"a cat  on a sofa"',
        "(12) a cat on a sofa",
        "\u2022 \u201ca cat on a sofa\u201d",
    ],
)
def test_marks_of_lists_are_taken_off(line):
    assert clean_line(line) == "a cat on a sofa"


def test_figures_that_belong_to_a_line_stay():
    assert clean_line("737-200 on the runway") == "737-200 on the runway"
