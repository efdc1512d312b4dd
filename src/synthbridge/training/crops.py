"""Crops: boxes drawn as torchvision's RandomResizedCrop draws them, cut as it cuts them."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

TRIES = 10  # torchvision's; after them the largest box in the centre


@dataclass(frozen=True)
class WholeView:
    """No augmentation: the boxes are the centre crop of `size` pixels, as in a test."""

    size: int

    def draw(self, sides: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the boxes in images of `sides` (B, 2); nothing is drawn from `rng`."""
        boxes = np.zeros((len(sides), 2, 3), np.float32)
        boxes[..., 0] = (sides - self.size) // 2
        boxes[..., 1] = self.size
        return boxes


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop and mirroring."""

    min_area: float  # smallest fraction of the image's area
    max_stretch: float  # largest ratio of width to height, and of height to width
    flip: bool

    def draw(self, sides: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a box in each image, as RandomResizedCrop.get_params does.

        All tries are made at once: of the boxes that fit into the image the first one counts.

        Args:
            sides: (B, 2), height and width of each image.
            rng: what is drawn from.

        Returns:
            (B, 2, 3) float32: down and across, each of start and length in pixels, and whether
            the axis is mirrored.
        """
        area, stretch = rng.random((2, TRIES, len(sides)))
        area = (self.min_area + (1 - self.min_area) * area) * sides.prod(1)
        longest = math.log(self.max_stretch)
        stretch = np.exp(2 * longest * stretch - longest)  # width to height
        lengths = np.rint(np.sqrt([area / stretch, area * stretch]))  # (2, TRIES, B)
        fits = ((lengths >= 1) & (lengths <= sides.T[:, None])).all(0)
        first, each = fits.argmax(0), np.arange(len(sides))
        starts, mirrored = rng.random((2, len(sides))), rng.random(len(sides)) < 0.5
        boxes = np.zeros((len(sides), 2, 3), np.float32)
        boxes[..., 1] = lengths[:, first, each].T
        boxes[..., 0] = np.floor(starts.T * (sides - boxes[..., 1] + 1))
        never = ~fits[first, each]
        if never.any():
            boxes[never, :, :2] = self._largest(sides[never])
        boxes[:, 1, 2] = mirrored & self.flip
        return boxes

    def _largest(self, sides: np.ndarray) -> np.ndarray:
        """Return the largest boxes in the centres of images (B, 2) whose shapes are allowed."""
        lengths = np.minimum(sides, np.rint(sides[:, ::-1] * self.max_stretch))
        return np.stack([(sides - lengths) // 2, lengths], axis=-1)


def crop(images: Tensor, boxes: np.ndarray, size: int) -> Tensor:
    """Cut each image's box and resize it to `size`, bilinearly with antialiasing.

    Both directions are products with a matrix of weights, which a device makes at once for images
    whose boxes differ in size.

    Args:
        images: (B, 3, H, W) uint8; what lies outside the boxes is not read.
        boxes: (B, 2, 3) as drawn by `Augmentation.draw`.
        size: pixels.

    Returns:
        (B, 3, size, size) float32 of 0..255.
    """
    count, channels, height, width = images.shape
    down, across = _weights(boxes, (height, width), size, images.device)
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
    narrow = torch.bmm(pixels.view(count, channels * height, width), across.mT)
    return down[:, None] @ narrow.view(count, channels, height, size)


def _weights(
    boxes: np.ndarray, sides: tuple[int, int], size: int, device: torch.device
) -> list[Tensor]:
    """Return what each output pixel takes of each input pixel: for both axes (B, size, side).

    A triangle around the output pixel's place in the input, as wide as the output pixel, but at
    least one input pixel to either side, and cut off at the box.
    """
    starts, lengths, mirrored = np.moveaxis(boxes, -1, 0)  # (B, 2) each
    # In units of the triangle's half width, from the middle of the box.
    unit = np.maximum(lengths / size, 1)
    middles, reaches = (starts + lengths / 2) / unit, lengths / 2 / unit
    # Four numbers an image, sent at once: a device would start a kernel for each step of theirs.
    facts = np.stack([1 / unit, middles, reaches, reaches * (1 - 2 * mirrored)])
    facts = torch.from_numpy(facts.astype(np.float32)).to(device)[..., None]  # (4, B, 2, 1)
    # Squares have the same lines on both axes, and their weights are made together.
    axes = [slice(0, 2)] if sides[0] == sides[1] else [slice(0, 1), slice(1, 2)]
    weights: list[Tensor] = []
    for axis, side in zip(axes, sides, strict=False):
        scale, middle, reach, slope = facts[:, :, axis]
        places = _line_centres(side, device) * scale - middle  # (B, axes, side)
        places.masked_fill_(places.abs() > reach, torch.inf)
        distances = places[:, :, None] - (slope * _pixel_centres(size, device))[..., None]
        triangles = distances.abs_().neg_().add_(1).relu_()
        weights += triangles.div_(triangles.sum(-1, keepdim=True)).unbind(1)
    return weights


@lru_cache(maxsize=32)
def _line_centres(side: int, device: torch.device) -> Tensor:
    """Return where the centres of `side` lines lie in pixels: (side,), made once a device."""
    return torch.arange(side, device=device) + 0.5


@lru_cache(maxsize=8)
def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Return where the centres of `size` pixels lie in [-1, 1]: (size,), made once a device."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Cut the centre of (B, 3, S, S) uint8 images: (B, 3, size, size) float32 of 0..255."""
    start = (images.shape[-1] - size) // 2
    return images[:, :, start : start + size, start : start + size].float()
