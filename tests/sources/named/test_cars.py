from functools import partial

import numpy as np
import pytest
from scipy.io import savemat

from synthbridge.sources.named.cars import list_cars
from synthbridge.sources.named.source import load_listed

NAMES = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo 2012"]
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]  # 1-based corners, in the authors' order


def write_annotations(path, rows, *, with_class=True):
    fields = [*BOX, *(["class"] if with_class else []), "fname"]
    annotations = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for index, (file, label) in enumerate(rows):
        values = [np.uint16(1), np.uint16(1), np.uint16(12), np.uint16(10)]
        annotations[0, index] = (*values, *([np.uint8(label)] if with_class else []), file)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": annotations})


@pytest.fixture
def load(tmp_path, write_images, replica_facts):
    (tmp_path / "devkit").mkdir()
    names = np.empty((1, 3), dtype=object)
    names[0, :] = NAMES
    savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    train = [("00001.jpg", 3), ("00002.jpg", 1), ("00003.jpg", 2), ("00004.jpg", 3)]
    test = [("00001.jpg", 2), ("00002.jpg", 3), ("00003.jpg", 1)]
    write_annotations(tmp_path / "devkit/cars_train_annos.mat", train)
    write_annotations(tmp_path / "devkit/cars_test_annos.mat", test, with_class=False)
    write_annotations(tmp_path / "cars_test_annos_withlabels.mat", test)
    write_images(tmp_path / "cars_train", [file for file, _ in train])
    write_images(tmp_path / "cars_test", [file for file, _ in test])
    return partial(load_listed, list_cars, tmp_path, replica_facts("cars", 3, 4, 3))


def test_classes_start_at_one_and_both_folders_number_alike(load, listed):
    dataset = load()
    assert list(dataset.class_names) == NAMES
    assert listed(dataset, "train") == [
        ("cars_train/00001.jpg", NAMES[2]),
        ("cars_train/00002.jpg", NAMES[0]),
        ("cars_train/00003.jpg", NAMES[1]),
        ("cars_train/00004.jpg", NAMES[2]),
    ]
    assert listed(dataset, "test") == [
        ("cars_test/00001.jpg", NAMES[1]),
        ("cars_test/00002.jpg", NAMES[2]),
        ("cars_test/00003.jpg", NAMES[0]),
    ]


def test_test_labels_of_the_devkit_are_no_substitute(load, tmp_path):
    labels = tmp_path / "cars_test_annos_withlabels.mat"
    labels.unlink()
    with pytest.raises(ValueError, match=r"withlabels\.mat is missing.*the authors' page is gone"):
        load()
    labels.write_bytes((tmp_path / "devkit/cars_test_annos.mat").read_bytes())
    with pytest.raises(ValueError, match="holds no file names with classes"):
        load()


def test_damaged_matlab_file_is_named(load, tmp_path):
    path = tmp_path / "devkit/cars_train_annos.mat"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"cars_train_annos\.mat is no MATLAB file"):
        load()
    path.write_text("<html>404</html>" * 20)
    with pytest.raises(ValueError, match=r"cars_train_annos\.mat is no MATLAB file"):
        load()
