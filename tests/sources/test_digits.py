import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from own_data import settings
from synthbridge.sources.digits import BLUR_RADIUS, find_blocks
from synthbridge.sources.loading import load_dataset


def _pixels(image):
    with Image.open(io.BytesIO(image.read())) as opened:
        return np.asarray(opened).astype(int)


def test_every_test_digit_is_corrupted_once(tmp_path):
    dataset = load_dataset(settings(source="digits", extra_test="corrupted"), tmp_path)
    assert [image.label for image in dataset.extra_test] == [image.label for image in dataset.test]
    own = [_pixels(image) for image in dataset.test[:3]]
    inverted, blurred, shifted = (_pixels(image) for image in dataset.extra_test[:3])
    assert (inverted == 255 - own[0]).all()
    # Pillow blurs with three boxes, whose sum is nearly a Gaussian.
    reference = gaussian_filter(own[1][:, :, 0].astype(float), BLUR_RADIUS, mode="nearest")
    assert np.abs(blurred[:, :, 0] - reference).mean() < 6
    assert (shifted[:-3, 3:] == own[2][3:, :-3]).all()
    assert not shifted[-3:].any() and not shifted[:, :3].any()
    assert dataset.extra_test[2].name == "corrupted/shifted/digits/0908"


def test_blocks_begin_where_the_labels_pattern_does():
    labels = load_digits().target
    starts = find_blocks(labels)
    sizes = np.diff([*starts, len(labels)])
    assert starts[0] == 0 and len(starts) == 14 and 122 <= min(sizes) <= max(sizes) <= 130
    # What follows the three rows in order is the same from block to block, so it is one sheet.
    tails = ["".join(map(str, labels[start + 30 : start + 100])) for start in starts]
    whole = [tail for tail, size in zip(tails, sizes, strict=True) if size == 130]
    assert len(whole) == 9 and len(set(whole)) == 1
    assert whole[0].startswith("095565098984177351002278201263373346664915")


def test_no_block_of_digits_lies_on_both_sides(tmp_path):
    dataset = load_dataset(settings(source="digits", extra_test="corrupted"), tmp_path)
    train, test = ({image.group for image in split} for split in (dataset.train, dataset.test))
    assert len(train) == len(test) == 7 and not train & test
    assert len(dataset.train) == 906 and len(dataset.test) == 891
    assert "approximation" in dataset.group_note
    assert [i.group for i in dataset.extra_test] == [i.group for i in dataset.test]


def test_images_and_labels_are_those_of_scikit_learn(tmp_path):
    original = load_digits()
    dataset = load_dataset(settings(source="digits"), tmp_path)
    for image in [*dataset.train[::50], *dataset.test[::50]]:
        index = int(image.name.removeprefix("digits/"))
        assert image.label == original.target[index]
        pixels = _pixels(image).astype(float)
        assert pixels.shape == (16, 16, 3)
        small = pixels[:, :, 0].reshape(8, 2, 8, 2).mean((1, 3)) * 16 / 255
        assert np.corrcoef(small.ravel(), original.images[index].ravel())[0, 1] > 0.97
