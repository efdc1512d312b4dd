"""Images for training: decoded once into memory, cropped and mirrored on the device in batches."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synthbridge.data.shards import Sample, read_square

Read = Callable[[Any, int], np.ndarray]  # (image, size) -> (size, size, 3) uint8
MEASURED_AT_ONCE = 256  # images: bounds the memory of a measurement


class DecodedOnDemand:
    """Images that are decoded each time they are asked for: for sets larger than memory.

    Indexed like a tensor (N, 3, size, size) of uint8, with the same values as the decoded one.
    """

    def __init__(self, images: Sequence[Any], read: Read, size: int, num_threads: int):
        self.images, self.read, self.size = images, read, size
        self.shape = (len(images), 3, size, size)
        self.num_threads = num_threads
        self.pool = ThreadPoolExecutor(num_threads)  # JPEG decoding and resizing release the GIL

    def __getitem__(self, index: Tensor) -> Tensor:
        """Decode the images at `index` (B,): (B, 3, size, size) uint8, on the index's device."""
        chosen = [self.images[place] for place in index.tolist()]
        return self._decode(chosen).to(index.device, non_blocking=True)

    def decode_all(self) -> Tensor:
        """Decode every image."""
        return self._decode(self.images)

    def _decode(self, images: Sequence[Any]) -> Tensor:
        ends = np.linspace(0, len(images), self.num_threads + 1).astype(int).tolist()
        parts = self.pool.map(
            lambda start, stop: [self.read(image, self.size) for image in images[start:stop]],
            ends[:-1],
            ends[1:],
        )
        stacked = np.stack([square for part in parts for square in part])  # (B, H, W, 3)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class ImageSet:
    """Images with their class indices."""

    images: "Tensor | DecodedOnDemand"  # (N, 3, H, W) uint8
    labels: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def tail(self, start: int) -> "ImageSet":
        """Return the images from number `start` on, without a copy of pixels."""
        images = self.images
        if isinstance(images, DecodedOnDemand):
            later = DecodedOnDemand(
                images.images[start:], images.read, images.size, images.num_threads
            )
        else:
            later = images[start:]
        return ImageSet(later, self.labels[start:])

    def at(self, index: Tensor) -> Tensor:
        """Return the images at `index` (B,): (B, 3, H, W) uint8."""
        if isinstance(self.images, Tensor):
            return self.images.index_select(0, index)  # copies rows; `[index]` goes byte by byte
        return self.images[index]


def load_images(
    images: Sequence[Any],
    labels: Sequence[int],
    read: Read,
    *,
    size: int,
    device: torch.device,
    memory_limit: int,
) -> ImageSet:
    """Decode all images into the device's memory, or on demand where they exceed the limit.

    Args:
        images: what `read` takes, one an image.
        labels: class indices.
        read: decodes one image to a square of `size` pixels.
        size: pixels.
        device: where training runs.
        memory_limit: bytes that the decoded images may take.
    """
    on_demand = DecodedOnDemand(images, read, size, decoding_threads(device))
    targets = torch.tensor(labels, dtype=torch.int64, device=device)
    if len(images) * 3 * size * size > memory_limit:
        return ImageSet(on_demand, targets)
    return ImageSet(on_demand.decode_all().to(device), targets)


def load_samples(samples: Sequence[Sample], size: int, device: torch.device) -> ImageSet:
    """Decode samples into memory; above SYNTHBRIDGE_CACHE_GIB (16) they stay in their shards."""
    limit = float(os.environ.get("SYNTHBRIDGE_CACHE_GIB", "16"))
    return load_images(
        samples,
        [sample.label for sample in samples],
        read_square,
        size=size,
        device=device,
        memory_limit=int(limit * 2**30),
    )


def decoding_threads(device: torch.device) -> int:
    """Return how many threads a process that trains on `device` decodes with.

    On a CPU one: a process a core computes there, and more threads would only pass the GIL to and
    fro, which takes longer than a small image. Beside a GPU the process's part of the cores.
    """
    if device.type == "cpu":
        return 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this machine, by the launcher
    return max(1, len(os.sched_getaffinity(0)) // processes)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, in units of pixel value / 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) values of 0..255 into the network's input, with the channels last.

        As the model is: else its first layer turns them round, forward and backward.
        """
        mean, std = _in_grey_levels(self, images.device)
        return (images - mean).div_(std).contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=8)
def _in_grey_levels(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and std, each (1, 3, 1, 1) in units of pixel values, made once a device."""
    columns = torch.tensor([normalisation.mean, normalisation.std], device=device) * 255
    mean, std = columns.view(2, 1, 3, 1, 1)
    return mean, std


def measure_normalisation(images: ImageSet, size: int) -> Normalisation:
    """Measure mean and standard deviation of each channel over all pixels of `images`.

    Args:
        images: one or more.
        size: of the centre crop that is measured, pixels: what the network sees in a test.
    """
    total = torch.zeros(2, 3, dtype=torch.float64)  # sum, sum of squares
    for index in torch.arange(len(images), device=images.labels.device).split(MEASURED_AT_ONCE):
        values = centre_crop(images.images[index], size).double() / 255
        total += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]).cpu()
    mean, square = total / (len(images) * size * size)
    # Constant images would divide by 0: half a grey level is the rounding of 8 bits.
    std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=0.5 / 255)
    return Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


@dataclass(frozen=True)
class WholeView:
    """No augmentation: the boxes are the centre crop of `size` pixels, as in a test."""

    size: int

    def draw(self, count: int, side: int, rng: np.random.Generator) -> np.ndarray:
        """Return `count` equal boxes in an image of `side` pixels; nothing is drawn from `rng`."""
        start = (side - self.size) // 2
        return np.tile(np.array([start, start, self.size, self.size, 0], np.float32), (count, 1))


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop and mirroring; the boxes are drawn as torchvision draws them."""

    min_area: float  # smallest fraction of the image's area
    max_stretch: float  # largest ratio of width to height, and of height to width
    flip: bool

    def draw(self, count: int, side: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` boxes in an image of `side` pixels: (count, 5) of y, x, h, w, mirrored.

        float32. Bare ufuncs: np.clip and np.stack would take longer than all else here.
        """
        draws = rng.random((5, count))  # of area, stretch, top, left, mirroring
        area = (self.min_area + (1 - self.min_area) * draws[0]) * side * side
        longest = math.log(self.max_stretch)
        stretch = np.exp(2 * longest * draws[1] - longest)
        sides = np.sqrt([area / stretch, area * stretch])  # height, width
        sides = np.minimum(np.maximum(np.rint(sides), 1), side)
        boxes = np.empty((5, count), np.float32)
        boxes[:2] = np.floor(draws[2:4] * (side - sides + 1))
        boxes[2:4] = sides
        boxes[4] = (draws[4] < 0.5) & self.flip
        return boxes.T


def crop(images: Tensor, boxes: np.ndarray, size: int) -> Tensor:
    """Cut each image's box and resize it bilinearly to `size`.

    Args:
        images: (B, 3, S, S) uint8.
        boxes: (B, 5) float32 as drawn by `Augmentation.draw`.
        size: pixels.

    Returns:
        (B, 3, size, size) float32 of 0..255.
    """
    side = images.shape[-1]
    # The output's pixel centres in [-1, 1], mapped onto the box in the input's [-1, 1]: what
    # affine_grid does, without its matrix product for what is a product along each axis. An image
    # has four numbers, for which a device would start a dozen kernels: they are made beside it.
    starts, lengths, mirrored = boxes[:, :2], boxes[:, 2:4], boxes[:, 4]
    lines = np.empty((2, len(boxes), 2, 1), np.float32)  # scale and shift of y and x
    lines[0, ..., 0] = lengths / side
    lines[0, :, 1, 0] *= 1 - 2 * mirrored
    lines[1, ..., 0] = (2 * starts + lengths) / side - 1
    scale, shift = torch.from_numpy(lines).to(images.device)
    down, across = (scale * _pixel_centres(size, images.device) + shift).unbind(1)  # (B, size)
    whole = (len(images), size, size)
    grid = torch.stack([across[:, None, :].expand(whole), down[:, :, None].expand(whole)], dim=-1)
    return F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


@lru_cache(maxsize=8)
def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Return where the centres of `size` pixels lie in [-1, 1]: (size,), made once a device."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Cut the centre of (B, 3, S, S) uint8 images: (B, 3, size, size) float32 of 0..255."""
    start = (images.shape[-1] - size) // 2
    return images[:, :, start : start + size, start : start + size].float()
