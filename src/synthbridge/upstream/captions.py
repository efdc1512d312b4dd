"""Captions: what the pool says of an image, in the words of the prompts."""

import numpy as np

from synthbridge.diffusion.prompts import STYLE_PROMPT
from synthbridge.prompts.templates import TEMPLATES

MAX_STYLE_WORDS = 4  # that one caption names


def write_caption(
    class_name: str, words: tuple[str, ...], *, style_fraction: float, rng: np.random.Generator
) -> str:
    """Write the caption of an image of `class_name` to which the style `words` apply.

    A fraction `style_fraction` of the captions names one to four of the words, in random order; the
    others, and those of images without any word, use one of the 27 templates.
    """
    if words and rng.random() < style_fraction:
        num_words = int(rng.integers(1, min(MAX_STYLE_WORDS, len(words)) + 1))
        named = rng.permutation(words)[:num_words]
        return STYLE_PROMPT.format(class_name, " ".join(named))
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(class_name)
