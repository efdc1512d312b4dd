import numpy as np
import pytest

from synthbridge.core.files import hash_file, write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.data.synthetic import (
    check_volume,
    hash_samples,
    plan_shards,
    read_start_images,
    set_samples,
    subset_names,
    subset_of,
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


def test_real_images_to_start_from_take_turns(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    write_shard(
        tmp_path / "s0.tar",
        [
            {
                "__key__": f"k{i}",
                "png": encode_png(images[i]),
                "cls": i // 2,
                "json": {"name": name},
            }
            for i, name in enumerate(["a", "b", "c"])
        ],
    )
    starts = read_start_images(tmp_path / "s0.tar")
    assert [starts.choose(0, index) for index in range(3)] == ["a", "b", "a"]
    assert starts.choose(1, 5) == "c"
    assert (starts.read("c") == images[2]).all()


@pytest.fixture
def blocks(tmp_path):
    image = encode_png(np.zeros((2, 2, 3), np.uint8))
    for block, subset in (("b0", "s0"), ("b0", "s1"), ("b1", "s0")):
        samples = [
            {"__key__": f"{subset}-0000-{block}{index}", "png": image, "cls": 0, "json": {}}
            for index in range(3)
        ]
        write_shard(tmp_path / block / f"{subset}-00000.tar", samples)
    return [tmp_path / "b0", tmp_path / "b1"]


def test_a_set_is_the_images_of_all_its_seeds(blocks):
    samples = set_samples(blocks)
    assert [subset_of(sample) for sample in samples] == ["s0"] * 3 + ["s1"] * 3 + ["s0"] * 3
    with pytest.raises(ValueError, match=r"no image in .*b9; run 'dvc repro'"):
        set_samples([blocks[0].parent / "b9"])


def test_what_examine_keeps_trains_and_nothing_else(blocks, tmp_path):
    everything = synthetic_samples(blocks, 0)
    kept = tmp_path / "kept.json"
    write_json(kept, {"keep_fraction": 1.0, "keys": None})
    assert synthetic_samples(blocks, 0, kept) == everything
    write_json(kept, {"keep_fraction": 0.5, "keys": ["s0-0000-b01", "s0-0000-b12", "s1-0000-b00"]})
    few = synthetic_samples(blocks, 0, kept)
    assert [sample.key for sample in few] == ["s0-0000-b01", "s0-0000-b12"]


def test_all_images_are_hashed_by_their_shards_and_a_part_by_its_keys_too(blocks):
    samples = synthetic_samples(blocks, 0)
    shards = [hash_file(block / "s0-00000.tar") for block in blocks]
    assert hash_samples(samples) == shards
    part, other = hash_samples(samples[:4]), hash_samples(samples[:3] + samples[4:5])
    assert part[:2] == other[:2] == shards and len(part) == len(other) == 3
    assert part != other
