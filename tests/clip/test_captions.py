import re

import numpy as np
import pytest

from synthbridge.clip.captions import Catalogue, write_catalogue
from synthbridge.clip.pool import PoolImage


@pytest.fixture
def catalogue(tmp_path):
    def make(captions):
        images = [PoolImage(f"k{i}", text, "a.tar", i, 7) for i, text in enumerate(captions)]
        write_catalogue(tmp_path / "c.sqlite", images)
        return Catalogue(tmp_path / "c.sqlite")

    return make


def test_a_phrase_is_found_as_a_search_word_by_word_finds_it(catalogue):
    words = ["great", "white", "shark", "sharks", "Great-White", "a"]
    rng = np.random.default_rng(0)
    captions = [" ".join(rng.choice(words, size=6)) for _ in range(300)]
    found = catalogue(captions).find(["great white"], None)
    expected = {i for i, text in enumerate(captions) if re.search(r"(?i)\bgreat\W+white\b", text)}
    assert set(found) == expected and 0 < len(expected) < 300


def test_each_word_of_a_class_finds_and_the_first_is_named(catalogue):
    made = catalogue(["a nought", "number 0", "zero", "Zero or nought", "none"])
    assert made.find(["zero", "nought", "0"], None) == {0: "nought", 1: "0", 2: "zero", 3: "zero"}


@pytest.mark.parametrize("phrase", ['"', 'a" OR "b', "*", "NOT b", "caption:b", "", "b AND c"])
def test_a_phrase_has_no_syntax(catalogue, phrase):
    assert catalogue(["b", "c", "a", "b c"]).find([phrase], None) == {}


def test_a_limit_keeps_those_that_say_little_else(catalogue):
    made = catalogue(["a cat on a long green sofa", "cat", "my cat", "dog"])
    assert set(made.find(["cat"], 2)) == {1, 2}
    assert set(made.find(["cat"], 9)) == {0, 1, 2}


def test_images_come_back_as_they_were(catalogue):
    made = catalogue(["é, ü", "", "x"])
    assert (len(made), made.num_captions()) == (3, 2)
    assert made.image(0) == PoolImage("k0", "é, ü", "a.tar", 0, 7)
    assert set(made.find(["É Ü"], None)) == {0}
