import numpy as np
import pytest

from synthbridge.prompts.templates import TEMPLATES
from synthbridge.upstream.glyphs import IMAGE_SIZE
from synthbridge.upstream.pool import (
    CLASS_NAMES,
    count_shards,
    draw_sample,
    read_pool,
    write_caption,
    write_pool_shard,
)
from synthbridge.upstream.settings import PoolSettings

SETTINGS = PoolSettings(num_images=60, images_per_shard=25, style_fraction=0.7, seed=0)
WORDS = ("large", "bold", "slanted", "handwritten", "chalk")
START = "A three photo in the style of "


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


def write_many(words: tuple[str, ...], style_fraction: float) -> list[str]:
    rng = np.random.default_rng(0)
    return [
        write_caption("three", words, style_fraction=style_fraction, rng=rng) for _ in range(300)
    ]


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


def test_fraction_of_styled_captions():
    styled = sum(caption.startswith(START) for caption in write_many(WORDS, 0.7))
    assert 180 <= styled <= 240  # 210 expected of 300, standard deviation 8
