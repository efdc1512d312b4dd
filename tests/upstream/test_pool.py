import numpy as np
import pytest

from synthbridge.prompts.templates import TEMPLATES
from synthbridge.upstream.captions import write_caption
from synthbridge.upstream.glyphs import IMAGE_SIZE, STYLE_WORDS, draw_glyph
from synthbridge.upstream.pool import (
    CLASS_NAMES,
    count_shards,
    draw_sample,
    read_pool,
    write_pool_shard,
)
from synthbridge.upstream.settings import PoolSettings

SETTINGS = PoolSettings(num_images=60, images_per_shard=25, style_fraction=0.7, seed=0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    sizes = [write_pool_shard(SETTINGS, shard, folder) for shard in range(count_shards(SETTINGS))]
    assert sizes == [25, 25, 10]
    return folder


def test_a_shard_needs_no_other(pool, tmp_path):
    assert sorted(path.name for path in pool.iterdir()) == ["00000.tar", "00001.tar", "00002.tar"]
    write_pool_shard(SETTINGS, 1, tmp_path)
    assert (pool / "00001.tar").read_bytes() == (tmp_path / "00001.tar").read_bytes()


def test_classes_come_equally_often_and_captions_name_them(pool):
    read = read_pool(pool)
    assert read.images.shape == (60, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert np.bincount(read.labels).tolist() == [6] * 10
    for label, caption in zip(read.labels, read.captions, strict=True):
        assert CLASS_NAMES[label] in caption


def test_a_caption_names_words_that_apply_and_no_others():
    for index in range(200):
        sample = draw_sample(index, SETTINGS)
        caption, words = sample["json"]["caption"], sample["json"]["style_words"]
        if " in the style of " in caption:
            named = caption.split(" in the style of ")[1].split()
            assert 1 <= len(named) <= 4 and set(named) <= set(words)
        else:
            assert caption in {template.format(CLASS_NAMES[index % 10]) for template in TEMPLATES}


def test_style_fraction():
    rng = np.random.default_rng(0)
    captions = [write_caption("one", ("bold",), style_fraction=0.7, rng=rng) for _ in range(2000)]
    assert abs(np.mean(["in the style of bold" in caption for caption in captions]) - 0.7) < 0.04


def _glyphs(count=400):
    return [draw_glyph("8", np.random.default_rng([1, index])) for index in range(count)]


def test_words_say_what_was_done():
    glyphs = _glyphs()
    assert {word for glyph in glyphs for word in glyph.words} == set(STYLE_WORDS)

    def mean(measure, word):
        chosen = [measure(g.pixels.astype(float)) for g in glyphs if word in g.words]
        return np.mean(chosen)

    def border(pixels):  # the background's grey
        return np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))

    assert mean(border, "chalk") < 40 < 215 < mean(border, "ink")
    assert mean(np.ptp, "faded") < 90 < mean(np.ptp, "chalk")

    def spread(pixels):  # rows that hold ink
        return (np.abs(pixels - border(pixels)).max(1) > 40).sum()

    assert mean(spread, "small") + 3 < mean(spread, "large")

    def finest(pixels):  # what the eye loses when four pixels become one
        blocks = pixels.reshape(8, 2, 8, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
        return np.abs(pixels - blocks).mean() / np.ptp(pixels)

    crisp = [glyph for glyph in glyphs if not {"blurry", "coarse"} & set(glyph.words)]
    assert mean(finest, "coarse") < 0.8 * np.mean([finest(g.pixels.astype(float)) for g in crisp])
