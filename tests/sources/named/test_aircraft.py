import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from synthbridge.sources.named.aircraft import list_aircraft
from synthbridge.sources.named.source import load_listed

DATA = "fgvc-aircraft-2013b/data"
IMAGES = (
    "1025794",
    "0056978",
    "1340192",
    "0450014",
    "0062765",
    "1042824",
    "0894380",
    "1427680",
    "9999999",  # in no list
)


@pytest.fixture
def load(tmp_path, write_images, write_lines, replica_facts):
    data = tmp_path / DATA
    write_lines(data / "variants.txt", "707-320", "Challenger 600", "F-16A/B", "F/A-18")
    write_lines(
        data / "images_variant_trainval.txt",
        "1025794 F/A-18",
        "0056978 707-320",
        "1340192 Challenger 600",
        "0450014 F-16A/B",
    )
    write_lines(
        data / "images_variant_test.txt",
        "0062765 Challenger 600",
        "1042824 707-320",
        "0894380 F-16A/B",
        "1427680 F/A-18",
    )
    banner = np.zeros((50, 40, 3), np.uint8)
    banner[:30] = (200, 40, 40)  # the picture; the 20 rows below it are the banner
    file = io.BytesIO()
    Image.fromarray(banner).save(file, "JPEG", quality=95, subsampling=0)
    write_images(data / "images", [f"{image}.jpg" for image in IMAGES], file.getvalue())
    return partial(load_listed, list_aircraft, tmp_path, replica_facts("aircraft", 4, 4, 4))


def test_variants_with_slashes_and_spaces_name_their_classes(load, listed):
    dataset = load()
    assert dataset.class_names == ("707-320", "Challenger 600", "F-16A/B", "F/A-18")
    assert listed(dataset, "train") == [
        (f"{DATA}/images/1025794.jpg", "F/A-18"),
        (f"{DATA}/images/0056978.jpg", "707-320"),
        (f"{DATA}/images/1340192.jpg", "Challenger 600"),
        (f"{DATA}/images/0450014.jpg", "F-16A/B"),
    ]
    assert [name for _, name in listed(dataset, "test")] == [
        "Challenger 600",
        "707-320",
        "F-16A/B",
        "F/A-18",
    ]


def test_banner_is_cut_off(load):
    image = Image.open(io.BytesIO(load().train[0].read()))
    assert image.format == "JPEG" and image.size == (40, 30)
    assert np.abs(np.asarray(image, int) - (200, 40, 40)).mean() < 3


def test_broken_image_is_named(load, tmp_path):
    path = tmp_path / DATA / "images/1025794.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1025794\.jpg is no whole image"):
        load().train[0].read()


def test_image_of_unknown_variant_is_refused(load, tmp_path, write_lines):
    write_lines(tmp_path / DATA / "variants.txt", "707-320", "Challenger 600", "F-16A", "F/A-18")
    with pytest.raises(ValueError, match=r"0450014\.jpg is listed under class 'F-16A/B', which"):
        load()


def test_line_cut_in_two_is_refused(load, tmp_path, write_lines):
    write_lines(tmp_path / DATA / "images_variant_test.txt", "0062765 Challenger 600", "10428")
    with pytest.raises(ValueError, match="the line '10428' lacks its second part"):
        load()
