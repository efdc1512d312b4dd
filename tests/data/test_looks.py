import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from own_data import encoded
from synthbridge.data.looks import find_alike, look_of


def _photo(seed, size=(160, 120)):
    """Return a picture of a few large and many small forms."""
    rng = np.random.default_rng(seed)
    parts = [rng.integers(0, 255, (n, n + 1, 3), dtype=np.uint8) for n in (4, 24)]
    coarse, fine = (Image.fromarray(part).resize(size, Image.Resampling.BICUBIC) for part in parts)
    return Image.blend(coarse, fine, 0.3)


def _again(image, quality):
    return Image.open(io.BytesIO(encoded(image, quality=quality))).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: _again(image, 20),
        lambda image: _again(image.resize((80, 60)), 60),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: image.crop((2, 2, 158, 118)),
    ],
)
def test_a_changed_copy_looks_like_its_original(change):
    looks = [look_of(_photo(0)), look_of(change(_photo(0)))]
    (pair,) = find_alike(looks)
    assert pair[:2] == (0, 1) and 0.95 < pair.similarity <= 1


def test_other_pictures_do_not():
    assert find_alike([look_of(_photo(seed)) for seed in range(60)]) == []


def test_things_on_a_plain_background_are_told_apart():
    """Their hashes hardly differ; their thumbnails do."""
    looks = []
    for box in ((20, 20, 60, 100), (90, 20, 130, 60), (30, 70, 140, 90)):
        image = Image.new("RGB", (160, 120), "white")
        image.paste((30, 60, 90), box)
        looks.append(look_of(image))
    assert find_alike(looks) == []


def test_pairs_come_the_most_alike_first():
    original = _photo(0)
    looks = [
        look_of(_photo(1)),
        look_of(original),
        look_of(_again(original, 20)),
        look_of(original),
    ]
    found = find_alike(looks)
    assert [pair[:2] for pair in found] == [(1, 3), (1, 2), (2, 3)] and found[0].similarity == 1


def test_what_shows_too_little_has_no_look():
    assert look_of(_photo(0, (31, 60))) is None
    assert look_of(Image.new("RGB", (60, 60), "white")) is None


def test_many_are_compared_in_parts(monkeypatch):
    looks = [look_of(_photo(seed)) for seed in range(5)] * 2
    monkeypatch.setattr("synthbridge.data.looks.AT_ONCE", 3)
    assert [pair[:2] for pair in find_alike(looks)] == [(n, n + 5) for n in range(5)]
