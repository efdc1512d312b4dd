import base64
import io

import numpy as np
import pytest
from evidence.made_runs import make_run
from evidence.simulated import write_pictures
from PIL import Image

from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.evidence.pictures import (
    TEST_TILE,
    TILE,
    data_uri,
    png_as_jpeg,
    read_pictures,
    strip,
)

LABELS = list(range(10)) * 3


@pytest.fixture
def run():
    return make_run("vanilla", 0, LABELS, LABELS)


@pytest.fixture
def folders(tmp_path):
    write_pictures(tmp_path / "real/train-00000.tar", 10)
    write_pictures(tmp_path / "real/test-00000.tar", 30)
    write_pictures(tmp_path / "b0/s0-00000.tar", 99, prompt="a <one>", sampler="dpm++")
    return tmp_path


def read(run, folders, **about):
    given = {"real": folders / "real", "blocks": {"dsi_4": folders / "b0"}}
    return read_pictures(run, **{**given, "num_classes": 4, "num_each": 2, **about})


def test_classes_are_spread_and_each_set_has_its_tiles(run, folders):
    pictures = read(run, folders)
    assert pictures.labels == [0, 3, 6, 9]
    assert pictures.row_names == ["digit 0", "digit 3", "digit 6", "digit 9"]
    shape = (4, 2, TILE, TILE, 3)
    assert {name: tiles.shape for name, tiles in pictures.tiles.items()} == {
        "real": shape,
        "dsi_4": shape,
    }
    assert set(np.unique(pictures.tiles["dsi_4"])) == {99}


def test_records_say_where_images_come_from_and_what_they_weigh(run, folders):
    pictures = read(run, folders)
    assert pictures.provenance["dsi_4"]["sampler"] == "dpm++"
    assert pictures.provenance["dsi_4"]["prompt"] == "for example: a <one>"
    size = (folders / "b0/s0-00000.tar").stat().st_size
    assert pictures.bytes_each == {"dsi_4": size / 30}


def test_a_class_that_lacks_pictures_is_white(run, folders):
    pictures = read(run, folders, num_each=5)
    assert (pictures.tiles["real"][:, 3:] == 255).all()
    assert (pictures.tiles["real"][:, :3] == 10).all()


def test_test_images_are_shown_only_if_they_are_those_that_were_tested(run, folders):
    pictures = read(run, folders)
    assert len(pictures.test) == 30
    assert pictures.test_tile(4).shape == (TEST_TILE, TEST_TILE, 3)
    other = make_run("vanilla", 0, LABELS[:20], LABELS[:20])
    assert read(other, folders).test == []


def test_classes_are_named_as_prepare_names_them(run, folders):
    names = [f"name {label}" for label in range(10)]
    write_json(folders / "real/dataset.json", {"class_names": names})
    assert read(run, folders).class_names == names


def test_without_folders_classes_are_numbers(run, tmp_path):
    pictures = read(run, tmp_path, real=None, blocks={})
    assert pictures.class_names == [str(label) for label in range(10)]
    assert pictures.tiles == {} and pictures.labels == []


def test_a_missing_folder_is_named(run, folders):
    with pytest.raises(ValueError, match="nowhere is no folder of shards; run 'dvc repro'"):
        read(run, folders, blocks={"dsi_4": folders / "nowhere"})


def test_an_empty_block_has_no_provenance(run, folders):
    (folders / "empty").mkdir()
    pictures = read(run, folders, blocks={"dsi_4": folders / "empty"})
    assert pictures.provenance == {} and pictures.bytes_each == {}
    assert (pictures.tiles["dsi_4"] == 255).all()


def decoded(uri):
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/jpeg"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_pictures_travel_as_jpeg():
    image = np.full((16, 24, 3), 120, np.uint8)
    assert np.abs(decoded(data_uri(image)).astype(int) - 120).max() <= 2
    assert decoded(png_as_jpeg(encode_png(image))).shape == (16, 24, 3)


def test_a_strip_lays_pictures_in_a_row():
    tiles = np.stack([np.full((8, 8, 3), shade, np.uint8) for shade in (10, 20, 30)])
    row = strip(tiles, gap=2)
    assert row.shape == (8, 3 * 8 + 2 * 2, 3)
    assert [row[4, x, 0] for x in (4, 14, 24)] == [10, 20, 30]
    assert row[4, 8, 0] == 255


def test_photographs_of_any_shape_are_cut_square(run, tmp_path):
    photo = encode_png(np.zeros((40, 90, 3), np.uint8))
    samples = [
        {"__key__": f"x{label}", "png": photo, "cls": label, "json": {}} for label in range(10)
    ]
    write_shard(tmp_path / "real/train-00000.tar", samples)
    pictures = read_pictures(run, real=tmp_path / "real", blocks={}, num_classes=2, num_each=1)
    assert pictures.tiles["real"].shape == (2, 1, TILE, TILE, 3)
    assert pictures.row_names == ["0", "9"]
