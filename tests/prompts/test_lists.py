"""What people write into prompt files: read as it stands, or refused in a sentence."""

import re

import pytest
from transformers import CLIPTokenizer

from house import ROOT
from synthbridge.diffusion.text import tokenize
from synthbridge.prompts.composing import compose_prompts
from synthbridge.prompts.lists import find_lists, read_lists, read_own_prompts
from synthbridge.sources.digits import DIGIT_NAMES
from synthbridge.sources.named.caltech101 import BETTER_NAMES, IMAGES_PER_CLASS
from synthbridge.sources.named.facts import FACTS
from synthbridge.sources.named.flowers import FLOWERS
from synthbridge.sources.named.listing import readable
from synthbridge.upstream.tokenizer import train_tokenizer

# The classes of SUN397 that are called /x/<scene>/outdoor.
OUTDOOR_SCENES = (
    "apartment building, arrival gate, athletic field, basketball court, bazaar, bow window, "
    "cabin, cathedral, chicken coop, church, control tower, diner, doorway, driving range, "
    "general store, greenhouse, hangar, hot tub, hotel, hunting lodge, ice skating rink, inn, "
    "kennel, labyrinth, library, lido deck, market, monastery, mosque, nuclear power plant, "
    "observatory, oil refinery, outhouse, parking garage, planetarium, podium, power plant, "
    "swimming pool, synagogue, tennis court, tent, track, volleyball court"
)
SHIPPED = ROOT / "data" / "prompts"
LISTS = """
senses:
  crane: [crane bird, construction crane]
fields:
  place: [on a lawn, in a tree]
contextual:
- a photo of a {class} {place}
stylised:
- a sketch of a {class}
groups:
- classes: [crane, heron]
  fields: {place: [in the reeds]}
"""


def _write(tmp_path, text, name="lists.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_fill_fields_in_words_of_their_own(tmp_path):
    lists = read_lists(_write(tmp_path, LISTS))
    assert lists.fields_for("robin") == {"place": ["on a lawn", "in a tree"]}
    assert lists.fields_for("heron") == {"place": ["in the reeds"]}
    assert lists.unknown_classes(["robin", "crane"]) == ["heron"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "{class} {place}",
            "{place}",
            r"pattern 'a photo of a \{place\}' must hold \{class\} once",
        ),
        ("{class} {place}", "{class} {light}", r"holds \{light\}, no group of fields"),
        ("{class} {place}", "{class} {place", "write fields as {name}"),
        ("fields: {place", "fields: {plaice", "groups: plaice of 'crane' is none of fields"),
        (
            ", construction crane]",
            "]",
            "senses.crane is .'crane bird'.; List should have at least 2",
        ),
        ("senses:", "sense:", "sense is not a known key; choose from contextual, fields, groups"),
        ("groups:\n- ", "groups: [\n- ", "is not valid YAML"),
    ],
)
def test_a_fault_in_lists_is_a_sentence(tmp_path, old, new, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_lists(_write(tmp_path, LISTS.replace(old, new, 1)))


def test_own_prompts_are_yaml_or_json_and_all_text(tmp_path):
    yaml = _write(
        tmp_path, "737-200: [a  jet]\n2012:\n- 'no'\n- a year: 2012\n".replace(": 2012", "")
    )
    assert read_own_prompts(yaml, ["2012", "737-200"]) == [["no", "a year"], ["a jet"]]
    json = _write(tmp_path, '{"b": ["a b\\u00e9"], "a": ["x", "y"]}', "own.json")
    assert read_own_prompts(json, ["a", "b"]) == [["x", "y"], ["a b\u00e9"]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [x]\n", "has no prompt for 'b', 'c', 'd', 1 more; give every class one"),
        ("a: [x]\nb: []\nc: [x]\nd: [x]\ne: [x]\n", "has no prompt for 'b'; give"),
        ("{a: [x], b: [x], c: [x], d: [x], e: [x], f: [x]}", "names 'f', no class of this data"),
        ("{a: [x], b: [x], c: [x], d: [x], e: x}", "'e' has 'x'; write a list of prompts"),
        ("{a: [x], b: [x], c: [x], d: [x], e: ['']}", r"'e' has \[''\]; write a list of prompts"),
        ("- a\n", "holds no mapping; docs/prompts.md shows"),
        ("a: [x\n", "is not valid YAML"),
        ("a: [x]\na: [y]\n", "is not valid YAML"),
    ],
)
def test_own_prompts_are_checked_before_anything_is_drawn(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_own_prompts(_write(tmp_path, text), list("abcde"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"own.yaml is not there; put the prompt file there"):
        read_own_prompts(tmp_path / "own.yaml", ["a"])


def test_a_data_set_takes_its_own_lists_else_those_of_its_source(tmp_path):
    with pytest.raises(ValueError, match="has no lists for mine.*python src write_prompts"):
        find_lists(tmp_path, "mine", "cars")
    cars = _write(tmp_path, LISTS, "cars.yaml")
    assert find_lists(tmp_path, "mine", "cars") == cars
    mine = _write(tmp_path, LISTS, "mine.yaml")
    assert find_lists(tmp_path, "mine", "cars") == mine


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Reads 77 tokens, as CLIP's; of a twelfth of its vocabulary, it needs more for most words."""
    folder = tmp_path_factory.mktemp("tokenizer")
    files = sorted(SHIPPED.glob("*.yaml"))
    train_tokenizer([line for path in files for line in path.read_text().splitlines()], folder)
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.mark.parametrize("name", [*FACTS, "digits"])
def test_what_ships_is_whole(name, tokenizer):
    lists = read_lists(SHIPPED / f"{name}.yaml")
    classes = {name for group in lists.groups for name in group.classes} | {"thing"}
    used = {
        field
        for pattern in (*lists.contextual, *lists.stylised)
        for field in lists.fields
        if f"{{{field}}}" in pattern
    }
    assert used == set(lists.fields)
    for class_name in classes:
        for kind in ("contextual", "stylised"):
            prompts = compose_prompts(lists, kind, class_name, called=class_name, superclass=None)
            assert len(prompts) >= 20, (class_name, kind)
            for prompt in prompts:
                assert class_name in prompt and "{" not in prompt and "  " not in prompt
            # Refuses one that has too many tokens; it has the most letters or nearly so.
            tokenize(tokenizer, sorted(prompts, key=len)[-10:])


@pytest.mark.parametrize("name", [*FACTS, "digits"])
def test_no_shipped_prompt_says_a_word_twice(name):
    """Of any class or sense that a file names: `a photo of a Maltese dog dog` would be one."""
    lists = read_lists(SHIPPED / f"{name}.yaml")
    called = {of_group: {of_group} for group in lists.groups for of_group in group.classes}
    for class_name, senses in lists.senses.items():
        called.setdefault(class_name, {class_name}).update(senses)
    if name == "flowers":
        called |= {flower: called.get(flower, {flower}) for flower in FLOWERS}
    for class_name, texts in called.items():
        for kind in ("contextual", "stylised"):
            for text in texts:
                for prompt in compose_prompts(
                    lists, kind, class_name, called=text, superclass=None
                ):
                    assert text in prompt
                    # The digits' phrases may meet in `handwritten handwritten`, the pool's words.
                    around = prompt if name != "digits" else prompt.partition(" in the style")[0]
                    assert not re.search(r"\b(\w+) \1\b", around, re.IGNORECASE), prompt


def test_scenes_outdoors_have_light_of_outdoors():
    lists = read_lists(SHIPPED / "sun397.yaml")
    for scene in OUTDOOR_SCENES.split(", "):
        light = lists.fields_for(f"outdoor {scene}")["lighting"]
        assert "under a grey sky" in light and "in lamp light" not in light, scene


@pytest.mark.parametrize(
    ("name", "class_names"),
    [
        ("digits", DIGIT_NAMES),
        ("flowers", FLOWERS),
        ("caltech101", [BETTER_NAMES.get(key, readable(key)) for key in IMAGES_PER_CLASS]),
    ],
)
def test_what_ships_names_only_classes_that_there_are(name, class_names):
    assert read_lists(SHIPPED / f"{name}.yaml").unknown_classes(class_names) == []
