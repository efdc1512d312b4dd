import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from synthbridge.training.images import (
    Augmentation,
    DecodedOnDemand,
    Normalisation,
    centre_crop,
    crop,
    load_images,
)


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def test_crop_is_torchvisions_resized_crop(images):
    """Where the box is no larger than the output nothing is averaged away: the same bilinear."""
    boxes = Augmentation(0.2, 1.3, flip=True).draw(6, 20, np.random.default_rng(0))
    mine = crop(images, boxes, 24)
    for image, box, cropped in zip(images, boxes, mine, strict=True):
        top, left, height, width, mirrored = (int(value) for value in box)
        theirs = tv.resized_crop(image.float(), top, left, height, width, [24, 24], antialias=False)
        theirs = tv.hflip(theirs) if mirrored else theirs
        inner = (slice(None), slice(3, -3), slice(3, -3))  # the border may look past the box
        assert torch.allclose(cropped[inner], theirs[inner], atol=0.05)


def test_boxes_lie_inside_with_the_area_asked_for():
    boxes = Augmentation(0.25, 4 / 3, flip=True).draw(5000, 64, np.random.default_rng(1)).numpy()
    top, left, height, width, mirrored = boxes.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 64).all() and (left + width <= 64).all()
    share = height * width / 64**2
    assert share.min() > 0.23 and share.max() <= 1
    assert abs(share.mean() - 0.62) < 0.02
    assert abs(mirrored.mean() - 0.5) < 0.03
    assert (
        not Augmentation(0.25, 1.0, flip=False).draw(50, 64, np.random.default_rng(1))[:, 4].any()
    )


def test_normalisation_and_centre_crop(images):
    normalise = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    mine = normalise(centre_crop(images, 16))
    theirs = tv.normalize(
        tv.center_crop(images, [16, 16]).float() / 255, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    )
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_on_demand_gives_the_same_values_as_decoded():
    def read(number, size):
        return np.full((size, size, 3), number, np.uint8)

    kept = load_images(
        range(9), [0] * 9, read, size=4, device=torch.device("cpu"), memory_limit=10**6
    )
    lazy = load_images(range(9), [0] * 9, read, size=4, device=torch.device("cpu"), memory_limit=9)
    assert isinstance(lazy.images, DecodedOnDemand) and isinstance(kept.images, torch.Tensor)
    index = torch.tensor([7, 0, 3])
    assert torch.equal(lazy.images[index], kept.images[index])
    assert lazy.images.shape == kept.images.shape
    assert kept.images[index][:, 0, 0, 0].tolist() == [7, 0, 3]
