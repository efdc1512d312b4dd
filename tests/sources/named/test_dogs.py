from functools import partial

import numpy as np
import pytest
from scipy.io import savemat

from synthbridge.sources.named.dogs import list_dogs
from synthbridge.sources.named.source import load_listed

TRAIN = [
    ("n02085620-Chihuahua/n02085620_5927.jpg", 1),
    ("n02085620-Chihuahua/n02085620_4441.jpg", 1),
    ("n02099429-curly-coated_retriever/n02099429_12.jpg", 2),
    ("n02099429-curly-coated_retriever/n02099429_7.jpg", 2),
]
TEST = [
    ("n02099429-curly-coated_retriever/n02099429_3.jpg", 2),
    ("n02085620-Chihuahua/n02085620_2650.jpg", 1),
]


def write_list(path, images):
    files = np.empty((len(images), 1), dtype=object)
    files[:, 0] = [file for file, _ in images]
    labels = np.array([[float(label)] for _, label in images])  # doubles, as MATLAB has it
    savemat(path, {"file_list": files, "annotation_list": files, "labels": labels})


@pytest.fixture
def load(tmp_path, write_images, replica_facts):
    write_list(tmp_path / "train_list.mat", TRAIN)
    write_list(tmp_path / "test_list.mat", TEST)
    write_images(tmp_path / "Images", [file for file, _ in TRAIN + TEST])
    facts = replica_facts("dogs", 2, 4, 2, train_per_class=2)
    return partial(load_listed, list_dogs, tmp_path, facts)


def test_breed_follows_the_synset(load, listed):
    dataset = load()
    assert dataset.class_names == ("Chihuahua", "curly-coated retriever")
    assert listed(dataset, "train") == [
        (f"Images/{file}", dataset.class_names[label - 1]) for file, label in TRAIN
    ]
    assert listed(dataset, "test") == [
        (f"Images/{file}", dataset.class_names[label - 1]) for file, label in TEST
    ]


def test_label_of_two_folders_is_refused(load, tmp_path):
    write_list(tmp_path / "test_list.mat", [(TEST[0][0], 1), (TEST[1][0], 2)])
    with pytest.raises(ValueError, match="class 1 is both n02085620-Chihuahua and n02099429-curly"):
        load()


def test_wrong_count_names_the_breed(load, tmp_path):
    write_list(tmp_path / "train_list.mat", TRAIN[:-1])
    with pytest.raises(ValueError, match="not 2 as in every class: 'curly-coated retriever' wi"):
        load()
