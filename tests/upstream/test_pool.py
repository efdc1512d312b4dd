from pathlib import Path

import numpy as np

from synthbridge.data.shards import index_shards
from synthbridge.files import hash_folder
from synthbridge.stages import pool as stage
from synthbridge.upstream.glyphs import draw_glyph
from synthbridge.upstream.pool import CLASS_NAMES, Pool, write_pool
from synthbridge.upstream.settings import PoolSettings


def make_settings(num_images: int) -> PoolSettings:
    return PoolSettings(num_images=num_images, images_per_shard=20, style_share=0.7, seed=5)


def test_number_of_processes_changes_no_byte(tmp_path: Path):
    for num_processes in (1, 3):
        folder = tmp_path / str(num_processes)
        counts = list(write_pool(folder, make_settings(50), num_processes=num_processes))
        assert counts == [20, 20, 10]
    assert hash_folder(tmp_path / "1") == hash_folder(tmp_path / "3")


def test_more_images_leave_the_first_as_they_were(tmp_path: Path):
    for num_images in (20, 40):
        list(write_pool(tmp_path / str(num_images), make_settings(num_images), num_processes=1))
    first = [(tmp_path / name / "00000.tar").read_bytes() for name in ("20", "40")]
    assert first[0] == first[1]


def test_read_pool_gives_what_was_drawn(pool: Pool, pool_folder: Path):
    assert pool.images.shape == (300, 16, 16, 3)
    assert np.bincount(pool.labels).tolist() == [30] * 10
    glyph = draw_glyph("7", np.random.default_rng([5, 17]))
    assert all(np.array_equal(pool.images[17, :, :, channel], glyph.pixels) for channel in range(3))
    record = index_shards(pool_folder)[17].record
    assert record["font"] == glyph.font and record["style_words"] == list(glyph.words)
    assert all(CLASS_NAMES[label] in caption.split()
               for label, caption in zip(pool.labels, pool.captions, strict=True))  # fmt: skip


def test_stage_writes_shards_and_class_names(tmp_path: Path, capsys):
    stage.pool(make_settings(30), out=tmp_path / "pool")
    names = sorted(path.name for path in (tmp_path / "pool").iterdir())
    assert names == ["00000.tar", "00001.tar", "classes.json"]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert "30" in first and last.startswith("made a pool of 30 images")
