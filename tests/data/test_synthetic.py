import pytest

from synthbridge.data.shards import encode_png, write_shard
from synthbridge.data.synthetic import (
    check_volume,
    plan_shards,
    subset_names,
    synthetic_samples,
)


def test_subsets():
    assert subset_names(None, [0, 1]) == {"all": 0}
    assert subset_names("full", [0, 1]) == {"all": 0}
    assert subset_names(4, [0, 2]) == {"s0": 0, "s2": 2}


def test_shards_hold_every_image_once():
    shards = plan_shards(["s0", "s1"], 7, 3, 100, 150)
    assert len({shard.name for shard in shards}) == 6
    for subset in ("s0", "s1"):
        mine = [shard for shard in shards if shard.subset == subset]
        assert sorted(sum((shard.class_indices for shard in mine), ())) == list(range(7))
        assert {(shard.start, shard.stop) for shard in mine} == {(100, 150)}
    assert plan_shards(["all"], 7, 3, 0, 0) == []


def test_a_seed_sees_its_own_subset_alone(tmp_path):
    import numpy as np

    image = encode_png(np.zeros((2, 2, 3), np.uint8))
    for block, subset in (("b0", "s0"), ("b0", "s1"), ("b1", "s1")):
        sample = {"__key__": f"{block}{subset}", "png": image, "cls": 0, "json": {}}
        write_shard(tmp_path / block / f"{subset}-00000.tar", [sample])
    blocks = [tmp_path / "b0", tmp_path / "b1"]
    assert [s.key for s in synthetic_samples(blocks, 0)] == ["b0s0"]
    assert [s.key for s in synthetic_samples(blocks, 1)] == ["b0s1", "b1s1"]
    with pytest.raises(ValueError, match="no synthetic image for seed 2"):
        synthetic_samples(blocks, 2)


def test_volume_above_capacity_or_between_blocks_is_refused():
    check_volume(300, 100, 3)
    with pytest.raises(ValueError, match="images_per_class is 400, but 3 blocks of 100 hold 300"):
        check_volume(400, 100, 3)
    with pytest.raises(ValueError, match="is 150, which is no multiple of.*images_per_block"):
        check_volume(150, 100, 3)
