"""Edits of a YAML file: one value changes and nothing else, however the file is laid out."""

import pytest

from house import ROOT
from synthbridge.core.settings import read_yaml
from synthbridge.editing import with_copy, with_items, with_only, with_value, without

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ("params.yaml", "profiles/paper.yaml")


@pytest.mark.parametrize(
    ("old", "key", "value", "new"),
    [
        ("a: 1  # one\nb: 2\n", "a", 3, "a: 3  # one\nb: 2\n"),
        ("a: 1       # one\n", "a", "three", "a: three   # one\n"),
        ("a: 1  # one\n", "a", "three", "a: three  # one\n"),
        ("a:  # one\nb: 2\n", "a", COMMIT, f"a: {COMMIT}  # one\nb: 2\n"),
        ("a:\nb: 2\n", "a", None, "a: null\nb: 2\n"),
        ("a: x\n", "a", "12", "a: '12'\n"),
        (
            "a:\n  b: x  # of b\n\n# of c\nc: 1\n",
            "a.c",
            2,
            "a:\n  b: x  # of b\n  c: 2\n\n# of c\nc: 1\n",
        ),
        ("a:\n    b: x", "a.c", 2, "a:\n    b: x\n    c: 2\n"),
        ("a:\n- 1\n- 2\nb: 3\n", "c", 4, "a:\n- 1\n- 2\nb: 3\nc: 4\n"),
        ("a: {b: x}  # of a\n", "a.c", 2, "a: {b: x, c: 2}  # of a\n"),
        ("a: {b: x, c: 1}\n", "a.b", "y", "a: {b: y, c: 1}\n"),
        (
            "a:   # of a\n  b: 1\n  # of d\n  d:\n  - 2\nc: 1\n",
            "a",
            None,
            "a: null  # of a\nc: 1\n",
        ),
    ],
)
def test_a_value(old, key, value, new):
    assert with_value(old, key, value) == new


@pytest.mark.parametrize(
    ("old", "items", "new"),
    [
        ("l: [a, b]  # all\nx: 1\n", ["a", "c"], "l: [a, c]  # all\nx: 1\n"),
        ("l: []  # all\nx: 1\n", ["a"], "l: [a]  # all\nx: 1\n"),
        ("l:  # all\n- a\n\n# of x\nx: 1\n", [], "l: []  # all\n\n# of x\nx: 1\n"),
        ("l:\n- 1\n- full  # all\nx: 1\n", [1, 4, "full"], "l:\n- 1\n- 4\n- full  # all\nx: 1\n"),
        ("l:\n- 0.1\n- 3.0e-2  # low", [0.01], "l:\n- 0.01\n"),
        ("l:\n- a", ["a", "b"], "l:\n- a\n- b\n"),
        (
            "y:\nl:\n  # first\n  - a\n  - b  # second\n\n# of x\nx: null\n",
            ["b", "c", "a"],
            "y:\nl:\n  - b  # second\n  - c\n  # first\n  - a\n\n# of x\nx: null\n",
        ),
    ],
)
def test_a_list(old, items, new):
    assert with_items(old, "l", items) == new


GROUPS = "g:\n  a:\n    s: 4  # shots\n\n  # of b\n  b: {s: 1}\n\n# of h\nh: 1\n"


@pytest.mark.parametrize(
    ("group", "new"),
    [
        ("g.a", GROUPS.replace("# shots\n", "# shots\n  c:\n    s: 4  # shots\n")),
        ("g.b", GROUPS.replace("{s: 1}\n", "{s: 1}\n  c: {s: 1}\n")),
    ],
)
def test_a_copy_stands_below_its_group_and_can_go_again(group, new):
    assert with_copy(GROUPS, group, "c") == new
    assert without(new, "g.c") == GROUPS


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["a", "b"], GROUPS),
        (["a"], GROUPS.replace("  b: {s: 1}\n", "")),  # what is said of it is no entry
        (["b"], "g:\n\n  # of b\n  b: {s: 1}\n\n# of h\nh: 1\n"),
    ],
)
def test_a_group_keeps_the_named_entries_alone(names, left):
    assert with_only(GROUPS, "g", names) == left


@pytest.mark.parametrize("name", FILES)
def test_our_own_files_there_and_back(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    sets = read_yaml(ROOT / name)["sets"]
    assert with_items(with_items(text, "sets", [*sets, "x"]), "sets", sets) == text
    for group in read_yaml(ROOT / name)["synthetic"]:
        assert without(with_copy(text, f"synthetic.{group}", "x"), "synthetic.x") == text


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda: with_value("a: 1\n", "b.c", 2), "there is no b to change; add it by hand"),
        (lambda: with_value("a: 1\n", "a.c", 2), "a.c stands where it cannot be changed in place"),
        (lambda: with_value("a: &x 1\nb: *x\n", "b", 2), "write 2 by hand"),
        (lambda: with_items("a: 1\n", "a", [2]), r"write \[2\] by hand"),
        (lambda: with_copy("g: {a: {s: 1}}\n", "g.a", "c"), "g.c stands where it cannot be chan"),
        (lambda: without("g: {a: {s: 1}}\n", "g.a"), "take it out by hand"),
        (lambda: with_only("g: {a: 1, b: 2}\n", "g", ["b"]), "keep b by hand"),
    ],
)
def test_what_takes_a_person_is_said(edit, sentence):
    with pytest.raises(ValueError, match=sentence):
        edit()
