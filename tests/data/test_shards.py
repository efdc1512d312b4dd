import hashlib
import io

import numpy as np
import pytest
import webdataset as wds
from PIL import Image

from synthbridge.data.shards import (
    encode_jpeg,
    encode_png,
    index_shard,
    index_shards,
    read_image,
    read_square,
    write_shard,
)


def _samples(count=3):
    rng = np.random.default_rng(0)
    for index in range(count):
        image = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        record = {"b": index, "a": "ä"}
        yield {
            "__key__": f"k{index:03d}",
            "png": encode_png(image),
            "cls": index,
            "json": record,
        }


def test_round_trip_and_same_bytes_twice(tmp_path):
    hashes = []
    for name in ("a.tar", "b.tar"):
        assert write_shard(tmp_path / name, _samples()) == 3
        hashes.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert hashes[0] == hashes[1]
    samples = index_shard(tmp_path / "a.tar")
    assert [(s.key, s.label, s.record) for s in samples] == [
        (f"k{i:03d}", i, {"a": "ä", "b": i}) for i in range(3)
    ]
    for sample, made in zip(samples, _samples(), strict=True):
        with Image.open(io.BytesIO(made["png"])) as image:
            assert np.array_equal(np.asarray(read_image(sample)), np.asarray(image))


def test_any_webdataset_reader_takes_the_shards(tmp_path):
    write_shard(tmp_path / "a.tar", _samples())
    read = list(wds.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode("pil"))
    assert [sample["cls"] for sample in read] == [0, 1, 2]
    assert read[1]["json"] == {"a": "ä", "b": 1}
    assert read[1]["png"].size == (8, 6)


@pytest.mark.parametrize("keep", [0, 100, 700, 2000, 2700])
def test_a_truncated_shard_is_named(tmp_path, keep):
    path = tmp_path / "a.tar"
    write_shard(path, _samples())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.tar.*(dvc checkout|dvc repro)"):
        index_shard(path)


def test_a_shard_cut_at_a_sample_is_noticed(tmp_path):
    """A tar that ends between two samples reads well but for its end marker."""
    path = tmp_path / "a.tar"
    write_shard(path, _samples())
    whole = path.read_bytes()
    third = index_shard(path)[2].offset - 512
    path.write_bytes(whole[:third])
    with pytest.raises(ValueError, match=r"a\.tar is not a whole tar"):
        index_shard(path)


def test_a_broken_image_is_named_with_its_shard(tmp_path):
    path = tmp_path / "a.tar"
    write_shard(path, _samples())
    sample = index_shard(path)[1]
    content = bytearray(path.read_bytes())
    content[sample.offset : sample.offset + sample.size] = b"x" * sample.size
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"a\.tar: image 'k001' cannot be read"):
        read_image(index_shard(path)[1])


def test_a_missing_part_and_a_missing_shard_are_named(tmp_path):
    with wds.TarWriter(str(tmp_path / "a.tar")) as tar:
        tar.write({"__key__": "k0", "png": b"x", "json": {}})
    with pytest.raises(ValueError, match=r"sample 'k0' has no \.cls"):
        index_shard(tmp_path / "a.tar")
    with pytest.raises(ValueError, match="holds no shard"):
        index_shards(tmp_path, "b-*.tar")


def test_a_failed_write_leaves_no_shard(tmp_path):
    def broken():
        yield from _samples(1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path / "a.tar", broken())
    assert list(tmp_path.iterdir()) == []


def test_jpeg_is_near_and_square_cuts_the_centre(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 8, dtype=np.uint8)[None, :, None], 4, axis=0)
    image = np.repeat(ramp, 3, axis=2)  # (4, 8, 3), brighter to the right
    with Image.open(io.BytesIO(encode_jpeg(image, 95))) as decoded:
        assert np.abs(np.asarray(decoded).astype(int) - image).max() < 12
    sample = {"__key__": "k", "png": encode_png(image), "cls": 0, "json": {}}
    write_shard(tmp_path / "a.tar", [sample])
    square = read_square(index_shard(tmp_path / "a.tar")[0], 4)
    assert np.array_equal(square, image[:, 2:6])
