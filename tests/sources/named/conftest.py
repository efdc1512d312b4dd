"""Small replicas of the ten data sets: files in the authors' formats, with counts of their own."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synthbridge.sources.named.facts import FACTS, Facts


def encode(width=12, height=10, kind="JPEG", colour=(90, 120, 30)) -> bytes:
    file = io.BytesIO()
    pixels = np.full((height, width, 3), colour, np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


JPEG = encode()


@pytest.fixture(scope="session")
def write_images():
    """Write an image file for each path below a folder."""

    def write(folder, paths, content=JPEG):
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    return write


@pytest.fixture(scope="session")
def write_lines():
    def write(path, *lines, end="\n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(line + end for line in lines).encode())

    return write


@pytest.fixture(scope="session")
def replica_facts():
    """The facts of a data set with a replica's counts in place of the published ones."""

    def facts(name, *counts, train_per_class=None, test_per_class=None) -> Facts:
        num_classes, num_train, num_test = counts
        return replace(
            FACTS[name],
            num_classes=num_classes,
            num_train=num_train,
            num_test=num_test,
            train_per_class=train_per_class,
            test_per_class=test_per_class,
        )

    return facts


@pytest.fixture(scope="session")
def encode_small():
    return encode


@pytest.fixture(scope="session")
def listed():
    """Show a split as pairs: path, class name."""

    def show(dataset, split):
        return [(image.name, dataset.class_names[image.label]) for image in getattr(dataset, split)]

    return show
