"""Images for training: decoded once into memory, cropped and mirrored on the device in batches.

The training images of photographs keep their shapes, for crops from the whole of them; whatever
else looks at images sees the square in their centre.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthbridge.data.shards import Sample, read_square, read_whole, whole_sides
from synthbridge.training.crops import centre_crop, crop

Read = Callable[[Any, int], np.ndarray]  # (image, size) -> (H, W, 3) uint8, shorter side size
MEASURED_AT_ONCE = 256  # images: bounds the memory of a measurement


class WholeImages:
    """Decoded images of any shapes, all with the same shorter side.

    One table of lines (lines, 3, shorter side) holds them without padding: the rows of a tall
    image, the columns of a wide one. So a batch of any shapes is a gather of lines.
    """

    def __init__(self, lines: Tensor, sides: np.ndarray):
        """Take the lines of all images one after another, and their heights and widths (N, 2)."""
        self.lines, self.sides = lines, sides
        self.is_wide = sides[:, 1] > sides[:, 0]
        self.num_lines = sides.max(1)
        self.first_lines = np.cumsum(self.num_lines) - self.num_lines

    def tail(self, start: int) -> "WholeImages":
        """Return the images from number `start` on, without a copy of pixels."""
        return WholeImages(self.lines[self.num_lines[:start].sum() :], self.sides[start:])

    def squares(self, batch: np.ndarray) -> Tensor:
        """Return the squares in the centres of the images at `batch` (B,): (B, 3, S, S) uint8."""
        size = self.lines.shape[-1]
        starts = (self.num_lines[batch] - size) // 2
        return self._turned(self._gather(batch, starts[:, None] + np.arange(size)), batch)

    def crops(self, batch: np.ndarray, boxes: np.ndarray, size: int) -> Tensor:
        """Cut the boxes of the images at `batch` (B,): (B, 3, size, size), as `crop` does."""
        lengths = self.num_lines[batch]
        lines = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # the last one: padding
        is_wide = self.is_wide[batch][:, None, None]
        along_first = np.where(is_wide, boxes[:, ::-1], boxes)
        return self._turned(crop(self._gather(batch, lines), along_first, size), batch)

    def _gather(self, batch: np.ndarray, lines: np.ndarray) -> Tensor:
        """Put the lines (B, L) of the images at `batch` (B,) together: (B, 3, L, S) uint8."""
        rows = (self.first_lines[batch][:, None] + lines).ravel()
        found = self.lines.index_select(0, torch.from_numpy(rows).to(self.lines.device))
        return found.view(*lines.shape, *found.shape[1:]).transpose(1, 2)

    def _turned(self, images: Tensor, batch: np.ndarray) -> Tensor:
        """Lay the columns of wide images upright again, where the lines come first."""
        is_wide = self.is_wide[batch]
        if not is_wide.any():
            return images
        is_wide = torch.from_numpy(is_wide).to(images.device)[:, None, None, None]
        return torch.where(is_wide, images.mT, images)


class DecodedOnDemand:
    """Images that are decoded each time they are asked for: for sets larger than memory.

    It gives the same values as images that are decoded once.
    """

    def __init__(
        self, images: Sequence[Any], read: Read, size: int, num_threads: int, sides: np.ndarray
    ):
        """Take the images, and the heights and widths (N, 2) in which `read` gives them."""
        self.images, self.read, self.size, self.sides = images, read, size, sides
        self.num_threads = num_threads
        self.pool = ThreadPoolExecutor(num_threads)  # JPEG decoding and resizing release the GIL

    def tail(self, start: int) -> "DecodedOnDemand":
        """Return the images from number `start` on."""
        later = self.images[start:], self.read, self.size, self.num_threads
        return DecodedOnDemand(*later, self.sides[start:])

    def decode(self, batch: np.ndarray, device: torch.device) -> WholeImages:
        """Decode the images at `batch` (B,) into the device's memory."""
        chosen = [self.images[place] for place in batch.tolist()]
        ends = np.linspace(0, len(chosen), self.num_threads + 1).astype(int).tolist()
        parts = self.pool.map(
            lambda start, stop: [
                _lines(self.read(image, self.size)) for image in chosen[start:stop]
            ],
            ends[:-1],
            ends[1:],
        )
        lines = np.concatenate([lines for part in parts for lines in part])  # (lines, S, 3)
        table = torch.from_numpy(lines).permute(0, 2, 1).contiguous()
        return WholeImages(table.to(device, non_blocking=True), self.sides[batch])


def _lines(image: np.ndarray) -> np.ndarray:
    """Return the rows of a tall image (H, W, 3), the columns of a wide one."""
    return image.swapaxes(0, 1) if image.shape[1] > image.shape[0] else image


@dataclass(frozen=True)
class ImageSet:
    """Images with their class indices."""

    images: "Tensor | WholeImages | DecodedOnDemand"  # squares: (N, 3, S, S) uint8
    labels: Tensor  # (N,) int64; or where some are soft (N, C) float32, rows of sum 1

    def __len__(self) -> int:
        return len(self.labels)

    def tail(self, start: int) -> "ImageSet":
        """Return the images from number `start` on, without a copy of pixels."""
        images = self.images
        later = images[start:] if isinstance(images, Tensor) else images.tail(start)
        return ImageSet(later, self.labels[start:])

    def sides(self, batch: np.ndarray) -> np.ndarray:
        """Return the heights and widths of the images at `batch` (B,): (B, 2), pixels."""
        if isinstance(self.images, Tensor):
            return np.broadcast_to(self.images.shape[2:], (len(batch), 2))
        return self.images.sides[batch]

    def at(self, index: Tensor) -> Tensor:
        """Return the squares in the centres of the images at `index` (B,): (B, 3, S, S) uint8."""
        if isinstance(self.images, Tensor):
            return self.images.index_select(0, index)  # copies rows; `[index]` goes byte by byte
        batch = index.cpu().numpy()
        if isinstance(self.images, DecodedOnDemand):
            decoded = self.images.decode(batch, index.device)
            return decoded.squares(np.arange(len(batch)))
        return self.images.squares(batch)

    def crops(self, batch: np.ndarray, boxes: np.ndarray, size: int) -> Tensor:
        """Cut the boxes (B, 2, 3) of the images at `batch` (B,), as `crop` does."""
        device = self.labels.device
        if isinstance(self.images, Tensor):
            chosen = self.images.index_select(0, torch.from_numpy(batch).to(device))
            return crop(chosen, boxes, size)
        if isinstance(self.images, DecodedOnDemand):
            decoded = self.images.decode(batch, device)
            return decoded.crops(np.arange(len(batch)), boxes, size)
        return self.images.crops(batch, boxes, size)


def load_images(
    images: Sequence[Any],
    labels: Sequence[int] | Tensor,
    read: Read,
    *,
    size: int,
    device: torch.device,
    memory_limit: int,
    sides: np.ndarray | None = None,
) -> ImageSet:
    """Decode all images into the device's memory, or on demand where they exceed the limit.

    Args:
        images: what `read` takes, one an image.
        labels: class indices, or soft labels (N, C).
        read: decodes one image, with a shorter side of `size` pixels.
        size: pixels.
        device: where training runs.
        memory_limit: bytes that the decoded images may take.
        sides: heights and widths (N, 2) in which `read` gives them; None: squares.
    """
    if sides is None:
        sides = np.full((len(images), 2), size)
    on_demand = DecodedOnDemand(images, read, size, decoding_threads(device), sides)
    if not isinstance(labels, Tensor):
        labels = torch.tensor(labels, dtype=torch.int64)
    targets = labels.to(device)
    if 3 * int(sides.prod(1).sum()) > memory_limit:
        return ImageSet(on_demand, targets)
    decoded = on_demand.decode(np.arange(len(images)), torch.device("cpu"))
    if (sides == size).all():
        squares = decoded.lines.view(-1, size, 3, size).transpose(1, 2).contiguous()
        return ImageSet(squares.to(device), targets)
    return ImageSet(WholeImages(decoded.lines.to(device), sides), targets)


def load_samples(
    samples: Sequence[Sample], size: int, device: torch.device, *, whole: bool = False
) -> ImageSet:
    """Decode samples into memory; above SYNTHBRIDGE_CACHE_GIB (16) they stay in their shards.

    Args:
        samples: one or more.
        size: of the shorter side, pixels.
        device: where training runs.
        whole: keep their shapes, for random crops; else the square in the centre.
    """
    limit = float(os.environ.get("SYNTHBRIDGE_CACHE_GIB", "16"))
    return load_images(
        samples,
        _labels(samples),
        read_whole if whole else read_square,
        size=size,
        device=device,
        memory_limit=int(limit * 2**30),
        sides=_whole_sides(samples, size, device) if whole else None,
    )


def _labels(samples: Sequence[Sample]) -> list[int] | Tensor:
    """Return the class of each sample; or, where some are mixtures of two, soft labels (N, C)."""
    soft = [sample.record.get("soft_label") for sample in samples]
    if not any(soft):
        return [sample.label for sample in samples]
    num_classes = max(sample.record.get("num_classes", 0) for sample in samples)
    table = torch.zeros(len(samples), num_classes)
    for row, sample, mixture in zip(table, samples, soft, strict=True):
        for label, part in (mixture or {sample.label: 1.0}).items():
            row[int(label)] = part
    return table


def hard_labels(labels: Tensor) -> Tensor:
    """Return class indices (B,): of soft labels (B, C) the class that an image is most of."""
    return labels if labels.ndim == 1 else labels.argmax(1)


def _whole_sides(samples: Sequence[Sample], size: int, device: torch.device) -> np.ndarray:
    """Read from their heads how high and wide `read_whole` gives samples: (N, 2)."""
    with ThreadPoolExecutor(decoding_threads(device)) as pool:
        found = pool.map(lambda sample: whole_sides(sample, size), samples)
        return np.array(list(found)).reshape(-1, 2)


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
        values = centre_crop(images.at(index), size).double() / 255
        total += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]).cpu()
    mean, square = total / (len(images) * size * size)
    # Constant images would divide by 0: half a grey level is the rounding of 8 bits.
    std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=0.5 / 255)
    return Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
