"""Against torchvision: how boxes are drawn, and what is cut out of them."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from synthbridge.training.crops import Augmentation, WholeView, centre_crop, crop

SCALE, STRETCH = (0.08, 1.0), 4 / 3


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 20, 32), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("size", [10, 24])
def test_a_crop_is_torchvisions_resized_crop(images, size):
    """Smaller and larger than the boxes: averaged and interpolated, to the border of the box."""
    boxes = Augmentation(0.2, 1.3, flip=True).draw(np.tile([20, 32], (6, 1)), _rng(0))
    assert 0 < boxes[:, 1, 2].sum() < 6
    for image, box, mine in zip(images, boxes.astype(int), crop(images, boxes, size), strict=True):
        (top, height, _), (left, width, mirrored) = box
        theirs = tv.resized_crop(image.float(), top, left, height, width, [size, size])
        assert torch.allclose(mine, tv.hflip(theirs) if mirrored else theirs, atol=1e-3)


def _rng(seed):
    return np.random.default_rng(seed)


def _facts(boxes, sides):
    """Return mean area, mean logarithm of width to height, and the mean place of the centre."""
    (top, height), (left, width) = boxes[:, 0, :2].T, boxes[:, 1, :2].T
    area = height * width / np.prod(sides)
    places = (top + height / 2) / sides[0], (left + width / 2) / sides[1]
    return [area.mean(), area.std(), np.log(width / height).mean(), *np.mean(places, axis=1)]


@pytest.mark.parametrize("sides", [(256, 256), (256, 384), (768, 256)])
def test_boxes_are_distributed_as_torchvisions(sides):
    boxes = Augmentation(SCALE[0], STRETCH, flip=True).draw(np.tile(sides, (40000, 1)), _rng(0))
    (top, height), (left, width) = boxes[:, 0, :2].T, boxes[:, 1, :2].T
    assert (top >= 0).all() and (top + height <= sides[0]).all()
    assert (left >= 0).all() and (left + width <= sides[1]).all()
    assert abs(boxes[:, 1, 2].mean() - 0.5) < 0.01 and not boxes[:, 0, 2].any()
    torch.manual_seed(0)
    image, ratio = torch.zeros(1, *sides), [1 / STRETCH, STRETCH]
    theirs = [RandomResizedCrop.get_params(image, list(SCALE), ratio) for _ in range(8000)]
    theirs = np.array(theirs)[:, [[0, 2], [1, 3]]]
    assert np.allclose(_facts(boxes, sides), _facts(theirs, sides), atol=0.012)


def test_the_mean_area_of_a_square_is_torchvisions():
    boxes = Augmentation(0.08, STRETCH, flip=False).draw(np.tile([256, 256], (200000, 1)), _rng(1))
    assert boxes[..., 1].prod(1).mean() / 256**2 == pytest.approx(0.479, abs=0.003)


@pytest.mark.parametrize("sides", [(40, 400), (400, 40), (100, 120), (100, 100)])
def test_what_never_fits_is_torchvisions_largest_box(sides):
    """Almost the whole area is asked for: ten tries fail often, in a panorama always."""
    boxes = Augmentation(0.97, 1.25, flip=False).draw(np.tile(sides, (3000, 1)), _rng(2))
    torch.manual_seed(0)
    arguments = torch.zeros(1, *sides), [0.97, 1.0], [0.8, 1.25]
    theirs = [RandomResizedCrop.get_params(*arguments) for _ in range(3000)]
    in_ratio = sides[1] / sides[0]
    height = round(sides[1] / 0.8) if in_ratio < 0.8 else sides[0]
    width = round(sides[0] * 1.25) if in_ratio > 1.25 else sides[1]
    fallback = ((sides[0] - height) // 2, (sides[1] - width) // 2, height, width)
    mine = [tuple(box.T[:2].ravel().astype(int)) for box in boxes]
    counts = [sum(box == fallback for box in drawn) for drawn in (mine, theirs)]
    assert counts[1] > 300
    assert counts[0] == pytest.approx(counts[1], abs=150)


def test_the_same_seed_draws_the_same_boxes():
    augmentation, sides = Augmentation(0.08, STRETCH, flip=True), np.tile([20, 32], (64, 1))
    assert np.array_equal(augmentation.draw(sides, _rng(5)), augmentation.draw(sides, _rng(5)))
    assert not Augmentation(0.25, 1.0, flip=False).draw(sides, _rng(1))[..., 2].any()


def test_no_augmentation_is_the_centre_crop(images):
    squares = images[..., :20]
    boxes = WholeView(14).draw(np.tile([20, 20], (6, 1)), _rng(0))
    assert torch.allclose(crop(squares, boxes, 14), centre_crop(squares, 14), atol=1e-3)
