import numpy as np
import pytest

from synthbridge.data.shard_writing import write_units
from synthbridge.data.shards import encode_jpeg, write_shard
from synthbridge.data.synthetic import plan_shards

SHARDS = plan_shards(["s0"], num_classes=3, classes_per_shard=2, start=4, stop=6)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def _describe(shard, number):
    return {"__key__": f"{shard.number}-{number}", "cls": number, "json": {"n": number}}


def test_units_are_the_shards_that_one_thread_writes(tmp_path):
    paths = {shard: tmp_path / shard.name for shard in SHARDS}
    write_units(paths, iter(enumerate(IMAGES)), _describe, jpeg_quality=90)
    for shard, numbers in zip(SHARDS, (range(4), range(4, 6)), strict=True):
        samples = [{**_describe(shard, i), "jpg": encode_jpeg(IMAGES[i], 90)} for i in numbers]
        write_shard(tmp_path / "expected.tar", samples)
        written = (paths[shard] / "shard.tar").read_bytes()
        assert written == (tmp_path / "expected.tar").read_bytes()


def test_a_shard_that_is_cut_off_leaves_no_unit(tmp_path):
    def images():
        yield from enumerate(IMAGES[:5])
        raise KeyboardInterrupt

    paths = {shard: tmp_path / shard.name for shard in SHARDS}
    with pytest.raises(KeyboardInterrupt):
        write_units(paths, images(), _describe, jpeg_quality=90)
    assert [path.name for path in tmp_path.iterdir()] == [SHARDS[0].name]
