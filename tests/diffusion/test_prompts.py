"""Prompts: filled as the paper has them, seeds the same everywhere."""

from collections import Counter

import numpy as np

from synthbridge.diffusion.prompts import draw_prompt, image_seed, step_seed, style_prompt
from synthbridge.prompts.templates import TEMPLATES, template_prompts


def test_style_prompt():
    assert style_prompt("seven", "<style>") == "A seven photo in the style of <style>"


def test_braces_in_a_class_name_are_kept():
    assert style_prompt("{0}", "<style>") == "A {0} photo in the style of <style>"


def test_seeds_are_pinned():
    # Another value would redraw every image that anyone has ever made.
    assert image_seed(0, 0, 0) == 4047357291647361835
    assert step_seed(0, 0) == 6532431687262343716


def test_seeds_differ_and_fit_63_bits():
    seeds = [image_seed(r, c, i) for r in range(3) for c in range(11) for i in range(112)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert image_seed(0, np.int64(1), 11) == image_seed(0, 1, 11)
    assert image_seed(0, 1, 11) != image_seed(0, 11, 1)
    assert step_seed(0, 1) != step_seed(0, -1)


def test_every_template_is_drawn_equally_often():
    seeds = [image_seed(0, 0, index) for index in range(2700)]
    counts = Counter(draw_prompt(template_prompts("cat"), seed) for seed in seeds)
    assert set(counts) == {template.format("cat") for template in TEMPLATES}
    assert min(counts.values()) > 60 and max(counts.values()) < 140  # 100 each, +- 4 sigma


def test_the_prompt_of_a_seed_is_pinned():
    """Another choice would redraw every image that anyone has ever made."""
    seeds = [image_seed(0, 1, index) for index in range(3)]
    drawn = [draw_prompt(template_prompts("one"), seed) for seed in seeds]
    assert drawn == ["a photo of a small one.", "a photo of the cool one.", "a rendition of a one."]
    assert draw_prompt(["A one photo in the style of <style>"], 5).endswith("<style>")
