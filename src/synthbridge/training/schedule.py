"""Which images stand in which gradient step, and at what rate."""

import math

import numpy as np


def num_batches(num_images: int, batch_size: int) -> int:
    """Return the number of gradient steps in one epoch; no image is dropped."""
    return math.ceil(num_images / batch_size)


def epoch_batches(num_images: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Shuffle all images into batches of nearly equal size, none above `batch_size`.

    65 images at 64 a batch make 33 and 32, not 64 and 1: a batch norm cannot learn from one image.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_images)
    return np.array_split(order, num_batches(num_images, batch_size))


def cosine_rate(peak: float, step: int, num_steps: int) -> float:
    """Return the learning rate of step 0..num_steps-1: cosine from `peak` towards 0."""
    return 0.5 * peak * (1 + math.cos(math.pi * step / num_steps))


def share(batch: np.ndarray, rank: int, num_processes: int) -> np.ndarray:
    """Return the part of a global batch that process `rank` of `num_processes` takes.

    That of np.array_split, which makes all the parts: at every step that counts.
    """
    size, num_larger = divmod(len(batch), num_processes)
    start = rank * size + min(rank, num_larger)
    return batch[start : start + size + (rank < num_larger)]
