from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import ImageFont

from synthbridge.upstream.glyphs import FONTS, STYLE_WORDS, Glyph, draw_glyph


@pytest.fixture(scope="module")
def eights() -> list[Glyph]:
    return [draw_glyph("8", np.random.default_rng([3, index])) for index in range(400)]


def contrast(glyph: Glyph) -> int:
    return int(glyph.pixels.max()) - int(glyph.pixels.min())


def grey(pixels: np.ndarray) -> float:
    """The background's grey: the median of the border."""
    return float(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))


def border(glyph: Glyph) -> float:
    return grey(glyph.pixels.astype(float))


def mean_ink(glyphs: list[Glyph]) -> float:
    """Mean coverage: how far the pixels are from the paper, as a fraction of the contrast."""
    return float(np.mean([np.abs(g.pixels - border(g)).mean() / contrast(g) for g in glyphs]))


def test_same_seed_draws_the_same_glyph():
    one, same, other = (draw_glyph("4", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.pixels, same.pixels)
    assert (one.words, one.font) == (same.words, same.font)
    assert not np.array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (16, 16) and one.pixels.dtype == np.uint8


def test_every_word_is_used_and_exclusive_words_never_meet(eights: list[Glyph]):
    assert {word for glyph in eights for word in glyph.words} == set(STYLE_WORDS)
    for first, second in (("small", "large"), ("chalk", "ink"), ("ink", "faded")):
        assert not any({first, second} <= set(glyph.words) for glyph in eights)


def test_chalk_ink_and_faded_are_what_they_say(eights: list[Glyph]):
    assert all(glyph.pixels.min() <= 25 for glyph in eights if "chalk" in glyph.words)
    assert all(glyph.pixels.max() >= 230 for glyph in eights if "ink" in glyph.words)
    assert all(contrast(glyph) <= 70 for glyph in eights if "faded" in glyph.words)
    clear = [glyph for glyph in eights if not {"small", "blurry", "faded"} & set(glyph.words)]
    assert np.mean([contrast(glyph) for glyph in clear]) > 100


@pytest.mark.parametrize(("more", "less"), [("bold", None), ("large", "small"), (None, "narrow")])
def test_weight_and_size_change_the_ink(eights: list[Glyph], more: str | None, less: str | None):
    def choose(wanted: str | None, unwanted: str | None) -> list[Glyph]:
        named = [glyph for glyph in eights if wanted is None or wanted in glyph.words]
        return [glyph for glyph in named if unwanted not in glyph.words]

    assert mean_ink(choose(more, less)) > 1.1 * mean_ink(choose(less, more))


def test_every_font_has_a_different_shape_for_each_digit_and_letter():
    characters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for name in FONTS:
        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        font = ImageFont.truetype(path, 40)
        shapes = {(bytes(mask), mask.size) for mask in map(font.getmask, characters)}
        # A font without them would draw its one missing-glyph box; O and 0 may be alike.
        assert len(shapes) >= len(characters) - 2, name


def test_words_say_what_was_done(eights: list[Glyph]):
    def mean(measure, word):
        chosen = [measure(g.pixels.astype(float)) for g in eights if word in g.words]
        return np.mean(chosen)

    assert mean(grey, "chalk") < 40 < 215 < mean(grey, "ink")
    assert mean(np.ptp, "faded") < 90 < mean(np.ptp, "chalk")

    def spread(pixels):  # rows that hold ink
        return (np.abs(pixels - grey(pixels)).max(1) > 40).sum()

    assert mean(spread, "small") + 3 < mean(spread, "large")

    def finest(pixels):  # what the eye loses when four pixels become one
        blocks = pixels.reshape(8, 2, 8, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
        return np.abs(pixels - blocks).mean() / np.ptp(pixels)

    crisp = [glyph for glyph in eights if not {"blurry", "coarse"} & set(glyph.words)]
    assert mean(finest, "coarse") < 0.8 * np.mean([finest(g.pixels.astype(float)) for g in crisp])
