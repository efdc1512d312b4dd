import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from quarters import make_images
from synthbridge.training.cues import one_cue_sets, shape_alone, texture_alone
from synthbridge.training.images import DecodedOnDemand, ImageSet


def _patches(image, patch):
    """Cut (3, S, S) into its patches, by hand."""
    return [
        image[:, y : y + patch, x : x + patch].numpy().tobytes()
        for y in range(0, 4 * patch, patch)
        for x in range(0, 4 * patch, patch)
    ]


def test_texture_alone_moves_whole_patches():
    images = make_images(6).images
    shuffled = texture_alone(images, np.random.default_rng(0))
    orders = set()
    for before, after in zip(images, shuffled, strict=True):
        old, new = _patches(before, 4), _patches(after, 4)
        assert sorted(old) == sorted(new) and old != new
        orders.add(tuple(old.index(patch) for patch in new))
    assert len(orders) == 6  # an order an image
    again = texture_alone(images, np.random.default_rng(0))
    assert torch.equal(shuffled, again)


def test_what_a_side_leaves_over_stays():
    images = torch.arange(2 * 3 * 18 * 18).reshape(2, 3, 18, 18)
    shuffled = texture_alone(images, np.random.default_rng(0))
    assert torch.equal(shuffled[:, :, 16:], images[:, :, 16:])
    assert torch.equal(shuffled[..., 16:], images[..., 16:])
    assert _patches(shuffled[0], 4) != _patches(images[0], 4)


def test_shape_alone_is_a_gaussian_blur():
    """Against SciPy's, at its centre: the two mirror the border alike, and cut the tails so."""
    images = make_images(2).images.repeat_interleave(3, 2).repeat_interleave(3, 3)  # 48 pixels
    blurred = shape_alone(images).numpy().astype(float)
    expected = images.numpy().astype(float)
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, sigma=3, axis=axis, mode="mirror", radius=9)
    assert np.abs(blurred - expected).max() <= 1  # rounded to 8 bits
    assert blurred.std() < 0.9 * images.float().numpy().std()


def test_both_sets_keep_labels_and_size_also_when_decoded_on_demand():
    images = make_images(5)
    lazy = DecodedOnDemand(
        list(images.images),
        lambda image, _: image.permute(1, 2, 0).numpy(),
        16,
        num_threads=2,
        sides=np.full((5, 2), 16),
    )
    kept = dict(one_cue_sets(images, seed=0))
    again = dict(one_cue_sets(ImageSet(lazy, images.labels), seed=0))
    assert list(kept) == ["texture", "shape"]
    for cue, set_ in kept.items():
        assert torch.equal(set_.labels, images.labels)
        assert torch.equal(set_.images, again[cue].images)
        assert set_.images.shape == images.images.shape and set_.images.dtype == torch.uint8
