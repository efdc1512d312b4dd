import io

import numpy as np
import pytest
from PIL import Image

from own_data import class_folders, encoded, photo, settings
from synthbridge.core.files import hash_folder, read_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import read_image
from synthbridge.stages.prepare import prepare

PARAMS = settings(max_side=30, validation_per_class=2)


@pytest.fixture
def raw(tmp_path):
    """Own data with a test split: a copy of a test image in train, files of several kinds."""
    raw = tmp_path / "mine"
    class_folders(raw / "train", 6)
    class_folders(raw / "test", 2, 2000)
    rook = raw / "train" / "rook"
    (rook / "copy.png").write_bytes((raw / "test" / "rook" / "0.jpg").read_bytes())
    (rook / "big.png").write_bytes(encoded(photo(900, (90, 60)), "PNG"))
    (rook / "ink.jpg").write_bytes(encoded(photo(901).convert("CMYK")))
    (raw / "names.yaml").write_text("AmericanCrow: crow\nsuperclass: bird\n")
    return raw


def test_own_data_becomes_shards_and_is_reported(raw, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(PARAMS, raw=raw, out=out)
    printed = capsys.readouterr().out
    assert "1 CMYK, 1 huge" in printed and "duplicates.json" in printed
    facts = read_json(out / "dataset.json")
    assert facts["class_keys"] == ["AmericanCrow", "house_sparrow", "rook"]
    assert facts["class_names"] == ["crow bird", "house sparrow bird", "rook bird"]
    assert facts["counts"] == {"train": 14, "validation": 6, "test": 6}
    (entry,) = read_json(out / "duplicates.json")
    assert [image["left_out"] for image in entry["images"]] == [False, True]


def test_shards_hold_the_images_with_their_classes(raw, tmp_path):
    out = tmp_path / "out"
    prepare(PARAMS, raw=raw, out=out)
    dataset = read_dataset(out)
    samples = [s for split in ("train", "validation", "test") for s in dataset.samples(split)]
    names = {sample.record["name"] for sample in samples}
    assert len(names) == len(samples) == 26 and "train/rook/copy.png" not in names
    for sample in samples:
        path = raw / sample.record["name"]
        assert sample.record["class_name"] == dataset.class_names[sample.label]
        assert ["AmericanCrow", "house_sparrow", "rook"][sample.label] == path.parent.name
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            if path.name not in ("big.png", "ink.jpg"):
                assert np.array_equal(read_image(sample), image.convert("RGB"))
        if path.name == "big.png":
            assert read_image(sample).size == (45, 30)
    few = dataset.train_samples(4, 3)
    assert np.bincount([sample.label for sample in few]).tolist() == [4, 4, 4]


def test_a_validation_split_is_used_as_it_is_given(raw, tmp_path):
    class_folders(raw / "val", 3, 5000)
    prepare(PARAMS, raw=raw, out=tmp_path / "out")
    names = {s.record["name"] for s in read_dataset(tmp_path / "out").samples("validation")}
    assert names == {path.relative_to(raw).as_posix() for path in (raw / "val").rglob("*.jpg")}


def test_same_bytes_twice(raw, tmp_path):
    for name in ("a", "b"):
        prepare(PARAMS, raw=raw, out=tmp_path / name)
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


def test_nothing_is_written_where_something_is_wrong(raw, tmp_path):
    (raw / "test" / "rook" / "9.jpg").write_bytes(encoded(photo(5, (200, 200)))[:-1500])
    with pytest.raises(ValueError, match=r"test/rook/9\.jpg cannot be decoded \(.*truncated"):
        prepare(PARAMS, raw=raw, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_that_loses_its_images_as_copies_is_named(raw, tmp_path):
    for path in (raw / "train" / "house_sparrow").iterdir():
        path.write_bytes((raw / "test" / "house_sparrow" / "0.jpg").read_bytes())
    with pytest.raises(ValueError, match="class 'house_sparrow' has no image in train, only in"):
        prepare(PARAMS, raw=raw, out=tmp_path / "out")


def test_an_extra_test_set_changes_no_other_split(raw, tmp_path):
    prepare(PARAMS, raw=raw, out=tmp_path / "plain")
    class_folders(raw / "sketches", 2, 4000)
    prepare(
        settings(max_side=30, validation_per_class=2, extra_test="sketches"),
        raw=raw,
        out=tmp_path / "more",
    )
    assert len(read_dataset(tmp_path / "more").extra_test_samples()) == 6
    assert read_json(tmp_path / "more/manifest.json")["num_extra_test_classes"] == 3
    assert read_dataset(tmp_path / "plain").extra_test_samples() == []
    for path in (tmp_path / "plain").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "more" / path.name).read_bytes()


def test_a_long_tail_is_cut_from_train_alone(raw, tmp_path):
    prepare(PARAMS, raw=raw, out=tmp_path / "plain")
    prepare(
        settings(max_side=30, validation_per_class=2, imbalance=4.0), raw=raw, out=tmp_path / "tail"
    )
    manifest = read_json(tmp_path / "tail" / "manifest.json")
    dataset = read_dataset(tmp_path / "tail")
    # Four, four and six images are left after validation; 4 * 4 ** (-i / 2) = 4, 2, 1.
    assert manifest["imbalance"] == 4.0 and manifest["train_counts"] == [4, 2, 1]
    assert np.bincount([sample.label for sample in dataset.samples("train")]).tolist() == [4, 2, 1]
    assert [len(ranking) for ranking in dataset.few_shot_rankings[0]] == [4, 2, 1]
    for split in ("validation", "test"):
        name = f"{split}-00000.tar"
        assert (tmp_path / "tail" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    with pytest.raises(ValueError, match="class 'house sparrow bird' has only 2 training images"):
        dataset.train_samples(3, 0)
