"""Cached latents: what the VAE says of each real image, computed once, drawn from at every step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.memory import MAX_PIXELS_ENCODED, at_once
from synthbridge.diffusion.prompts import step_seed

IMAGES_PER_ENCODING = 16  # images in the VAE at once


@dataclass(frozen=True)
class LatentCache:
    """The VAE's posterior of each image and, where mirrored images count, of each mirror image.

    In CPU memory: float32 for SD 1.5 takes 128 KiB an image, and as much for its mirror image.
    """

    mean: torch.Tensor  # (V, N, C, h, w), V = 1, or 2 with the mirror images; unit variance
    std: torch.Tensor  # (V, N, C, h, w)


@dataclass(frozen=True)
class Draw:
    """All that is random in one batch, drawn on the CPU: the same on every device."""

    classes: torch.Tensor  # (B,) class indices, uniform
    latents: torch.Tensor  # (B, C, h, w) a sample of the posterior of an image of each class
    noise: torch.Tensor  # (B, C, h, w) standard normal
    timesteps: torch.Tensor  # (B,) uniform over the training levels, as indices


@torch.inference_mode()
def cache_latents(generator: Generator, images: np.ndarray, *, flip: bool) -> LatentCache:
    """Encode `images`, uint8 (N, H, W, 3), and with `flip` their mirror images.

    Raises:
        ValueError: if the images are not of the size that the generator draws.
    """
    size = generator.image_size
    if images.shape[1:] != (size, size, 3):
        raise ValueError(
            f"the real images have shape {images.shape[1:]} and the generator draws "
            f"{(size, size, 3)}; resize them to it"
        )
    means, stds = [], []
    count = min(IMAGES_PER_ENCODING, at_once(MAX_PIXELS_ENCODED, size))
    for start in range(0, len(images), count):
        pixels = torch.from_numpy(images[start : start + count])
        pixels = pixels.to(generator.device).permute(0, 3, 1, 2).float() / 127.5 - 1  # [-1, 1]
        views = [pixels, pixels.flip(-1)] if flip else [pixels]
        posteriors = [generator.encode_images(view) for view in views]
        means.append(torch.stack([mean.cpu() for mean, _ in posteriors]))
        stds.append(torch.stack([std.cpu() for _, std in posteriors]))
    return LatentCache(torch.cat(means, 1), torch.cat(stds, 1))


class ClassBalance:
    """Draws a class uniformly and then one of its images, whatever the sizes of the classes."""

    def __init__(self, labels: Sequence[int] | np.ndarray, class_names: Sequence[str]):
        """Sort the images by class.

        Raises:
            ValueError: if a class has no image.
        """
        counts = np.bincount(np.asarray(labels), minlength=len(class_names))
        for name, count in zip(class_names, counts, strict=True):
            if count == 0:
                raise ValueError(f"class '{name}' has no real image; give it one or leave it out")
        self.counts = torch.from_numpy(counts)
        self.order = torch.from_numpy(np.argsort(labels, kind="stable"))
        self.starts = self.counts.cumsum(0) - self.counts

    def draw(self, batch_size: int, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return classes (B,) and images (B,) as indices."""
        classes = torch.randint(len(self.counts), (batch_size,), generator=draws)
        fraction = torch.rand(batch_size, generator=draws, dtype=torch.float64)
        within = (fraction * self.counts[classes]).long()
        return classes, self.order[self.starts[classes] + within]


def draw_batch(
    *,
    cache: LatentCache,
    balance: ClassBalance,
    batch_size: int,
    num_timesteps: int,
    seed: int,
    step: int,
) -> Draw:
    """Draw the batch of one step, from `seed` and `step` alone, so that any can be drawn again."""
    draws = torch.Generator().manual_seed(step_seed(seed, step))
    classes, images = balance.draw(batch_size, draws)
    views = torch.randint(len(cache.mean), (batch_size,), generator=draws)
    mean = cache.mean[views, images]
    z = torch.randn(mean.shape, generator=draws)
    noise = torch.randn(mean.shape, generator=draws)
    timesteps = torch.randint(num_timesteps, (batch_size,), generator=draws)
    return Draw(classes, cache.std[views, images].mul_(z).add_(mean), noise, timesteps)
