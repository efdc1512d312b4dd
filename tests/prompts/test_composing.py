from collections import Counter

import pytest

from synthbridge.prompts.composing import NUM_CANDIDATES, compose_prompts, fill_class
from synthbridge.prompts.lists import PromptLists

LISTS = PromptLists(
    fields={
        "place": [f"place{i}" for i in range(10)],
        "light": [f"light{i}" for i in range(7)],
        "style": ["a sketch", "a photograph"],
    },
    contextual=["a {class} {place}, {light}", "the {class}, {light} {place}"],
    stylised=["{style} of a {class} {place}"],
)


def _compose(name="cat", kind="contextual", lists=LISTS, called=None, superclass=None):
    return compose_prompts(lists, kind, name, called=called or name, superclass=superclass)


def test_every_phrase_is_as_frequent_as_another():
    numbers = {"place": 30, "light": 7, "weather": 11}
    fields = {name: [f"{name}{i}" for i in range(num)] for name, num in numbers.items()}
    patterns = ["a {class} {place}, {light}, {weather}", "the {class}, {light} {place} {weather}"]
    prompts = _compose(lists=PromptLists(fields=fields, contextual=patterns))
    assert len(prompts) == NUM_CANDIDATES  # of 4,620 that there are none came twice
    words = Counter(word.strip(",") for prompt in prompts for word in prompt.split())
    assert words["cat"] == NUM_CANDIDATES and words["a"] == words["the"] == NUM_CANDIDATES / 2
    for name, phrases in fields.items():
        times = [words[phrase] for phrase in phrases]
        assert sum(times) == NUM_CANDIDATES and max(times) - min(times) <= 1, name


def test_no_prompt_comes_twice():
    prompts = _compose()  # a hundred are drawn of 140 that there are
    assert len(set(prompts)) == len(prompts) < NUM_CANDIDATES


def test_prompts_hang_on_the_class_alone():
    assert _compose() == _compose()
    assert _compose() != [prompt.replace("dog", "cat") for prompt in _compose("dog")]
    renamed = _compose(called="house cat")
    assert [prompt.replace("house cat", "cat") for prompt in renamed] == _compose()


def test_few_combinations_come_once_each():
    prompts = _compose(kind="stylised")
    assert len(prompts) == len(set(prompts)) <= 20


def test_a_class_with_braces_is_filled_as_it_stands():
    assert all("{place}" in prompt for prompt in _compose("{place}"))


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("a photo of a {class}", "a photo of a cat, a type of pet"),
        ("a {class} on a sofa", "a cat, a type of pet, on a sofa"),
        ("a {class}, seen from above", "a cat, a type of pet, seen from above"),
    ],
)
def test_a_superclass_stands_in_apposition(pattern, filled):
    assert fill_class(pattern, "cat", "pet") == filled
    assert fill_class(pattern, "cat", None) == pattern.replace("{class}", "cat")


@pytest.mark.parametrize(
    ("pattern", "called", "superclass", "filled"),
    [
        ("a {class} dog on a lawn", "Maltese dog", None, "a Maltese dog on a lawn"),
        ("a {class} Flower, close", "blanket flower", None, "a blanket flower, close"),
        ("a {class} cat", "Bengal cat", None, "a Bengal cat"),
        ("a {class} flower", "globe-flower", None, "a globe-flower"),
        ("a {class} dog, seen", "Eskimo dog", "pet", "a Eskimo dog, a type of pet, seen"),
        ("a {class} dog on a lawn", "boxer", "dog", "a boxer, a type of dog, on a lawn"),
        ("a {class} dog", "boxer", None, "a boxer dog"),
        ("a {class} catapult", "cat", None, "a cat catapult"),
        ("a {class} cat-flap", "cat", None, "a cat cat-flap"),
        ("a {class} at night", "night night", None, "a night night at night"),
        ("a dog and a {class}", "dog dog", None, "a dog and a dog dog"),
    ],
)
def test_a_noun_that_ends_a_class_stands_once(pattern, called, superclass, filled):
    assert fill_class(pattern, called, superclass) == filled
