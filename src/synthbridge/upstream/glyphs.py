"""Glyphs: one character drawn in a random font and style, and the words that say which style.

Each is drawn large, bent and blurred there, then reduced: 16 pixels are too few to draw well.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

IMAGE_SIZE = 16  # pixels a side of a finished image
REDUCTION = 4
CANVAS_SIZE = IMAGE_SIZE * REDUCTION  # lengths below are pixels of this canvas

# The fonts of matplotlib 3.10 that hold letters and digits; its others hold symbols, or frames.
FONTS = (
    *(
        f"DejaVu{family}{cut}"
        for family, oblique in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
        for cut in ("", "-Bold", f"-{oblique}", f"-Bold{oblique}")
    ),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmtt10"),
)

# What may be done to a glyph: groups of which one or none applies, with the fraction of the images.
STYLE_GROUPS: tuple[dict[str, float], ...] = (
    {"small": 0.2, "large": 0.3},
    {"bold": 0.3},
    {"slanted": 0.2},
    {"narrow": 0.25},
    {"tall": 0.25},
    {"handwritten": 0.4},
    {"blurry": 0.25},
    {"coarse": 0.3},
    {"chalk": 0.3, "ink": 0.25, "faded": 0.15},
)
STYLE_WORDS = tuple(word for group in STYLE_GROUPS for word in group)
# The words of each group, and up to which number in 0..1 a draw means each.
_STYLE_CHOICES = [(list(group), list(accumulate(group.values()))) for group in STYLE_GROUPS]

MAX_ROTATION = 12.0  # degrees, either way


@dataclass(frozen=True)
class Glyph:
    """A drawn character: pixels (16, 16) uint8, the style words that apply, its font."""

    pixels: np.ndarray
    words: tuple[str, ...]
    font: str


def draw_glyph(character: str, rng: np.random.Generator) -> Glyph:
    """Draw `character` in a font and style taken from `rng`."""
    words = _choose_words(rng)
    font = FONTS[rng.integers(len(FONTS))]
    coverage = _draw_upright(character, font, words, rng)
    coverage = _bend(coverage, words, rng)
    if "blurry" in words:
        coverage = gaussian_filter(coverage, rng.uniform(2.5, 5.0), truncate=2.5)
    coverage = _reduce(coverage, IMAGE_SIZE)
    if "coarse" in words:
        small = Image.fromarray(_reduce(coverage, IMAGE_SIZE // 2))
        coverage = np.asarray(small.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
    background, ink = _choose_greys(words, rng)
    pixels = background + (ink - background) * coverage
    return Glyph(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), words, font)


def _choose_words(rng: np.random.Generator) -> tuple[str, ...]:
    words: list[str] = []
    for names, ends in _STYLE_CHOICES:
        chosen = bisect_right(ends, rng.random())
        words += names[chosen : chosen + 1]
    return tuple(words)


@cache
def _load_font(name: str, point_size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    # The basic layout: whether Raqm is installed must not change a byte.
    return ImageFont.truetype(path, point_size, layout_engine=ImageFont.Layout.BASIC)


def _draw_upright(
    character: str, font: str, words: tuple[str, ...], rng: np.random.Generator
) -> np.ndarray:
    """Draw the character as it stands in its font; returns coverage (64, 64) in 0..1."""
    low, high = (30, 38) if "small" in words else (60, 80) if "large" in words else (42, 50)
    canvas = Image.new("L", (CANVAS_SIZE, CANVAS_SIZE))
    drawing = ImageDraw.Draw(canvas)
    loaded = _load_font(font, int(rng.integers(low, high + 1)))
    stroke = 3 if "bold" in words else 0
    # The middle of the ink, not of the line: a 'g' and an 'l' both stand in the centre.
    left, top, right, bottom = drawing.textbbox((0, 0), character, loaded, stroke_width=stroke)
    corner = ((CANVAS_SIZE - left - right) / 2, (CANVAS_SIZE - top - bottom) / 2)
    drawing.text(corner, character, 255, loaded, stroke_width=stroke)
    return np.asarray(canvas, dtype=np.float32) / 255


def _bend(coverage: np.ndarray, words: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Rotate, and as the words say shear, squeeze and warp; takes and returns (64, 64)."""
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
    shear = rng.uniform(0.25, 0.45) if "slanted" in words else 0.0
    squeeze = rng.uniform(1.35, 1.7) if "narrow" in words else 1.0
    stretch = rng.uniform(1.15, 1.35) if "tall" in words else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # From where in the upright glyph (y, x) a pixel is taken: the inverse of what is seen.
    matrix = np.array([[1 / stretch, 0.0], [shear * squeeze, squeeze]]) @ rotation
    grid = np.indices(coverage.shape).reshape(2, -1) - (CANVAS_SIZE - 1) / 2
    sources = matrix @ grid + (CANVAS_SIZE - 1) / 2
    if "handwritten" in words:
        amplitude = rng.uniform(60, 110)  # of the noise before it is smoothed
        noise = rng.uniform(-1, 1, size=(2, *coverage.shape))
        smooth = gaussian_filter(noise, (0, 7, 7), mode="constant", truncate=3.0)
        sources += amplitude * smooth.reshape(2, -1)
    return map_coordinates(coverage, sources, order=1).reshape(coverage.shape)


def _reduce(coverage: np.ndarray, size: int) -> np.ndarray:
    """Average the blocks of (S, S) that become the pixels of (size, size)."""
    block = len(coverage) // size
    return coverage.reshape(size, block, size, block).mean((1, 3))


def _choose_greys(words: tuple[str, ...], rng: np.random.Generator) -> tuple[float, float]:
    """Choose the grey values (0..255) of background and ink."""
    if "chalk" in words:
        return rng.uniform(0, 25), rng.uniform(225, 255)
    if "ink" in words:
        return rng.uniform(230, 255), rng.uniform(0, 30)
    contrast = rng.uniform(40, 70) if "faded" in words else rng.uniform(90, 180)
    darker = rng.uniform(20, 235 - contrast)
    if rng.random() < 0.5:
        return darker, darker + contrast
    return darker + contrast, darker
