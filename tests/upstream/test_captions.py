import numpy as np

from synthbridge.prompts.templates import TEMPLATES
from synthbridge.upstream.captions import write_caption

WORDS = ("large", "bold", "slanted", "handwritten", "chalk")
START = "A three photo in the style of "


def write_many(words: tuple[str, ...], style_fraction: float) -> list[str]:
    rng = np.random.default_rng(0)
    return [write_caption("three", words, style_fraction=style_fraction, rng=rng) for _ in range(300)]


def test_styled_captions_name_one_to_four_different_words_that_apply():
    counts = set()
    for caption in write_many(WORDS, 1.0):
        assert caption.startswith(START)
        named = caption.removeprefix(START).split()
        assert set(named) <= set(WORDS) and len(set(named)) == len(named)
        counts.add(len(named))
    assert counts == {1, 2, 3, 4}


def test_other_captions_use_the_templates():
    assert set(write_many(WORDS, 0.0)) == {template.format("three") for template in TEMPLATES}
    assert all("style" not in caption for caption in write_many((), 1.0))


def test_share_of_styled_captions():
    styled = sum(caption.startswith(START) for caption in write_many(WORDS, 0.7))
    assert 180 <= styled <= 240  # 210 expected of 300, standard deviation 8
