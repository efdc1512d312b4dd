"""One unit of embedding for all stages that ask for a shard."""

import numpy as np
import pytest
import torch
from tiny_clip import save_tiny_clip

from synthbridge.clip.embedding import load_clip
from synthbridge.clip.shard_embeddings import embed_shards
from synthbridge.data.shards import encode_png, index_shard, read_image, write_shard


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(save_tiny_clip(tmp_path_factory.mktemp("clip")), torch.device("cpu"))


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))


def _write(path, seed, count=5):
    images = np.random.default_rng(seed).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    samples = [
        {"__key__": f"k{index}", "png": encode_png(image), "cls": 0, "json": {}}
        for index, image in enumerate(images)
    ]
    write_shard(path, samples)
    return path


def _refuse():
    raise AssertionError("CLIP is loaded although nothing is missing")


def test_vectors_are_clips_own_in_the_order_of_the_shard(clip, tmp_path):
    shards = [_write(tmp_path / f"{seed}.tar", seed) for seed in range(2)]
    vectors = embed_shards(lambda: clip, "hash", shards)
    assert list(vectors) == shards
    for shard in shards:
        images = [np.asarray(read_image(sample)) for sample in index_shard(shard)]
        np.testing.assert_array_equal(vectors[shard], clip.embed_images(images))


def test_a_shard_is_embedded_once_wherever_it_lies(clip, tmp_path):
    shard = _write(tmp_path / "a.tar", 0)
    first = embed_shards(lambda: clip, "hash", [shard])
    copy = _write(tmp_path / "copy.tar", 0)
    again = embed_shards(_refuse, "hash", [copy])
    np.testing.assert_array_equal(first[shard], again[copy])


def test_another_clip_or_another_image_embeds_again(clip, tmp_path):
    shard = _write(tmp_path / "a.tar", 0)
    embed_shards(lambda: clip, "hash", [shard])
    for clip_hash, other in (("another", shard), ("hash", _write(tmp_path / "b.tar", 1))):
        with pytest.raises(AssertionError, match="CLIP is loaded"):
            embed_shards(_refuse, clip_hash, [other])


def test_a_damaged_shard_is_named(clip, tmp_path):
    shard = _write(tmp_path / "a.tar", 0)
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"a\.tar is not a whole tar"):
        embed_shards(lambda: clip, "hash", [shard])
