"""A pool, a tokenizer and a CLIP model, too small to be good, in the real formats."""

from pathlib import Path

import pytest

from synthbridge.upstream.clip import make_clip, make_image_processor
from synthbridge.upstream.pool import Pool, read_pool, write_pool_shard
from synthbridge.upstream.settings import PoolSettings
from synthbridge.upstream.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    settings = PoolSettings(num_images=300, images_per_shard=200, style_fraction=0.7, seed=5)
    assert [write_pool_shard(settings, shard, folder) for shard in (0, 1)] == [200, 100]
    return folder


@pytest.fixture(scope="session")
def pool(pool_folder: Path) -> Pool:
    return read_pool(pool_folder)


@pytest.fixture(scope="session")
def clip_folder(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = train_tokenizer(pool.captions, folder)
    make_clip(tokenizer, seed=0).save_pretrained(folder)
    make_image_processor().save_pretrained(folder)
    return folder
