"""Images with one cue left: texture without shape, shape without texture.

Gap asks whether models trained on synthetic images rely on other cues than those trained on real
ones, and does not say enough to repeat its test: this is a reconstruction. Texture alone is the
image cut into 4 x 4 patches in random order (arXiv:2105.10497 measures shape by it); shape alone
is the image with its details blurred away. A cue-conflict test as in arXiv:1811.12231 needs
images of one class in another's texture, and a style transfer that fits them.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from synthbridge.training.images import ImageSet

PATCHES_A_SIDE = 4
BLUR = 1 / 16  # standard deviation of the blur in sides of the image


def texture_alone(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Put the patches of each image into a random order; what a side leaves over stays.

    Args:
        images: (B, 3, S, S).
        rng: draws an order an image.

    Returns:
        The same shape and type, the same pixels in other places.
    """
    patch = images.shape[-1] // PATCHES_A_SIDE  # pixels
    whole = patch * PATCHES_A_SIDE
    cut = images[:, :, :whole, :whole]
    cells = cut.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # (B, 3, rows, p, columns, p)
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, patches, 3, p, p)
    orders = rng.permuted(np.tile(np.arange(cells.shape[1]), (len(images), 1)), axis=1)
    rows = torch.arange(len(images), device=images.device)[:, None]
    cells = cells[rows, torch.from_numpy(orders).to(images.device)]
    cells = cells.unflatten(1, (PATCHES_A_SIDE, -1)).permute(0, 3, 1, 4, 2, 5)
    shuffled = images.clone()
    shuffled[:, :, :whole, :whole] = cells.flatten(4, 5).flatten(2, 3)
    return shuffled


def shape_alone(images: Tensor) -> Tensor:
    """Blur images (B, 3, S, S) of uint8 until only coarse shape is left."""
    sigma = BLUR * images.shape[-1]  # pixels
    size = 2 * int(3 * sigma) + 1
    return gaussian_blur(images, [size, size], [sigma, sigma])


def one_cue_sets(images: ImageSet, seed: int) -> Iterator[tuple[str, ImageSet]]:
    """Yield the images with texture alone and with shape alone, each with the cue's name.

    Args:
        images: decoded or not; they are held in memory one cue at a time.
        seed: draws the orders of the patches.
    """
    everything = images.at(torch.arange(len(images), device=images.labels.device))
    rng = np.random.default_rng(seed)
    yield "texture", replace(images, images=texture_alone(everything, rng))
    yield "shape", replace(images, images=shape_alone(everything))
