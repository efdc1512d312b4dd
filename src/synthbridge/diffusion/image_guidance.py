"""Real Guidance: images start from noised real images (He et al., arXiv:2210.07574, section 3.2).

The real image is encoded and noised to the timestep at which the last `strength` fraction of the
sampler's steps begins, and these steps denoise it with the prompt, as diffusers'
StableDiffusionImg2ImgPipeline does. Bridged, appendix E, takes the method over. He et al. give
their strengths as 15, 20, 35, 40, 50 of 100 steps for 16, 8, 4, 2, 1 shots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.latents import cache_latents
from synthbridge.diffusion.schedule import Step
from synthbridge.diffusion.to_device import send


@dataclass(frozen=True)
class Start:
    """What the VAE says of the real image that each row of a batch starts from, on the CPU."""

    mean: torch.Tensor  # (B, C, h, w), unit variance
    std: torch.Tensor  # (B, C, h, w)


@dataclass(frozen=True)
class ImageGuidance:
    """The real images that the images of a shard start from."""

    strength: float  # 0 < s <= 1, fraction of the denoising steps
    starts: Start  # of each distinct real image (S, C, h, w)
    choice: torch.Tensor  # (N,) which of them each image starts from

    def start(self, images: slice) -> Start:
        """Return what the images of one batch start from."""
        chosen = self.choice[images]
        return Start(self.starts.mean[chosen], self.starts.std[chosen])


def guide_by(
    generator: Generator,
    starts: Sequence[str],
    read: Callable[[str], np.ndarray],
    strength: float,
) -> ImageGuidance:
    """Encode the real images to start from, each once.

    Args:
        generator: the model, on the device to use.
        starts: of each image to draw, the key of the real image that it starts from (N,).
        read: a real image by its key, uint8 (H, W, 3), of the size that the generator draws.
        strength: 0 < s <= 1.

    Raises:
        ValueError: if the images are of another size.
    """
    places = {key: place for place, key in enumerate(dict.fromkeys(starts))}
    cache = cache_latents(generator, np.stack([read(key) for key in places]), flip=False)
    choice = torch.tensor([places[key] for key in starts])
    return ImageGuidance(strength, Start(cache.mean[0], cache.std[0]), choice)


def noise_start(start: Start, z: torch.Tensor, noise: torch.Tensor, step: Step) -> torch.Tensor:
    """Return x_t of the first `step`, float32 (B, C, h, w): alpha (mean + std z) + sigma noise.

    Args:
        start: real images.
        z: standard normal: the sample of the VAE's posterior.
        noise: standard normal.
        step: the first that is taken.
    """
    mean, std = send(start.mean, z.device), send(start.std, z.device)
    return torch.addcmul(mean, std, z).mul_(step.alpha).add_(noise, alpha=step.sigma)
