from functools import partial

import numpy as np
import pytest
from scipy.io import savemat

from synthbridge.sources.named.flowers import FLOWERS, list_flowers
from synthbridge.sources.named.source import load_listed

# Image 1 is of class 102, image 2 of 101, ...: three rounds over the classes, backwards.
LABELS = np.tile(np.arange(102, 0, -1), 3)
IDS = {
    "trnid": np.arange(204, 306) + 1,
    "valid": np.arange(0, 102) + 1,
    "tstid": np.arange(102, 204) + 1,
}


@pytest.fixture
def load(tmp_path, write_images, replica_facts):
    savemat(tmp_path / "imagelabels.mat", {"labels": LABELS[None].astype(np.uint8)})
    savemat(tmp_path / "setid.mat", {name: ids[None].astype(float) for name, ids in IDS.items()})
    write_images(tmp_path / "jpg", [f"image_{index:05d}.jpg" for index in range(1, 307)])
    facts = replica_facts("flowers", 102, 204, 102, train_per_class=2)
    return partial(load_listed, list_flowers, tmp_path, facts)


def test_names_are_the_authors():
    known = {
        1: "pink primrose",
        5: "english marigold",
        11: "snapdragon",
        47: "marigold",
        51: "petunia",
        54: "sunflower",
        60: "pink-yellow dahlia",
        73: "water lily",
        74: "rose",
        77: "passion flower",
        87: "magnolia",
        94: "foxglove",
        102: "blackberry lily",
    }
    assert {index: FLOWERS[index - 1] for index in known} == known


def test_ids_start_at_one_and_train_is_trnid_with_valid(load, listed):
    dataset = load()
    assert dataset.class_names == FLOWERS
    train, test = listed(dataset, "train"), listed(dataset, "test")
    assert train[0] == ("jpg/image_00205.jpg", "blackberry lily")
    assert train[102] == ("jpg/image_00001.jpg", "blackberry lily")
    assert train[203] == ("jpg/image_00102.jpg", "pink primrose")
    assert [path for path, _ in test] == [f"jpg/image_{index:05d}.jpg" for index in IDS["tstid"]]
    assert [name for _, name in test] == list(reversed(FLOWERS))


def test_labels_cut_short_are_refused(load, tmp_path):
    savemat(tmp_path / "imagelabels.mat", {"labels": LABELS[None, :100]})
    with pytest.raises(ValueError, match="has only 100 labels"):
        load()


def test_variable_that_is_not_there_is_named(load, tmp_path):
    savemat(tmp_path / "setid.mat", {"trnid": IDS["trnid"], "tstid": IDS["tstid"]})
    with pytest.raises(ValueError, match=r"setid\.mat has no variable 'valid'"):
        load()
