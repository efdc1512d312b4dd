"""A flow-matching generator of ours beside diffusers' own pipeline of the same folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pixel_shuffle

from synthbridge.diffusion.families.flow_matching import pack, unpack
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.image_guidance import guide_by
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.sampling import denoise, draw_noise, encode_prompts

PROMPTS = ["a photo of a cat", "a photo of my sea lion in the snow style"]
SEEDS = [11, 12]


def nothing(latents: torch.Tensor, generator: Any) -> torch.Tensor:
    return latents


def packed(latents: torch.Tensor, generator: Any) -> torch.Tensor:
    """Return latents as FLUX.1's pipeline takes and gives them."""
    return pack(latents)


def unpacked(latents: torch.Tensor, generator: Any) -> torch.Tensor:
    return unpack(latents, generator.latent_shape[1])


def of_vae(latents: torch.Tensor, generator: Any) -> torch.Tensor:
    """Return latents as FLUX.2's pipeline gives them: as its VAE takes them."""
    return pixel_shuffle(latents * generator.std + generator.mean, 2)


@dataclass(frozen=True)
class Pair:
    """The same model twice, and what their latents are to one another."""

    ours: Generator
    theirs: Any  # a pipeline of diffusers
    entering: Callable[[torch.Tensor, Any], torch.Tensor] = nothing  # ours, for their pipeline
    leaving: Callable[[torch.Tensor, Any], torch.Tensor] = nothing  # theirs, as ours
    left: Callable[[torch.Tensor, Any], torch.Tensor] = nothing  # ours, as `leaving` gives theirs
    scale: Callable[[float], float] = float  # our guidance scale, as they take it
    settings: dict[str, Any] = field(default_factory=dict)  # more, for their call

    def assert_same(self, num_steps: int, scale: float) -> None:
        """Draw by both from the same noise; latents within 1e-4, pixels too."""
        condition = encode_prompts(self.ours, ["", *PROMPTS])
        steps = self.ours.steps("euler", num_steps)
        index = torch.tensor([1, 2])
        latents = denoise(self.ours, condition, index, SEEDS, steps=steps, guidance_scale=scale)
        draws = [torch.Generator().manual_seed(seed) for seed in SEEDS]
        noise = draw_noise(draws, self.ours.latent_shape, self.ours.device)
        settings = {
            "num_inference_steps": num_steps,
            "latents": self.entering(noise, self.ours),
            "height": self.ours.image_size,
            "width": self.ours.image_size,
        }
        self._compare(latents, scale, settings)

    def assert_same_from_images(
        self, num_steps: int, strength: float, scale: float, their_strength: float | None = None
    ) -> None:
        """Start both from the same real images, their posterior sampled by the same draws.

        Give `their_strength` where it takes another for as many steps, which they round up.
        """
        size = self.ours.image_size
        images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
        guidance = guide_by(self.ours, ["0", "1"], lambda key: images[int(key)], strength)
        latents = denoise(
            self.ours,
            encode_prompts(self.ours, ["", *PROMPTS]),
            torch.tensor([1, 2]),
            SEEDS,
            steps=self.ours.steps("euler", num_steps, strength),
            guidance_scale=scale,
            start=guidance.start(slice(2)),
        )
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        settings = {"num_inference_steps": num_steps, "image": pixels}
        settings["strength"] = strength if their_strength is None else their_strength
        settings |= {"height": size, "width": size}
        self._compare(latents, scale, settings)

    def _compare(self, latents: torch.Tensor, scale: float, settings: dict[str, Any]) -> None:
        def draw(kind: str) -> torch.Tensor:
            return self.theirs(
                prompt=list(PROMPTS),
                guidance_scale=self.scale(scale),
                generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
                output_type=kind,
                **settings,
                **self.settings,
            ).images

        expected = self.leaving(draw("latent"), self.ours)
        assert (self.left(latents, self.ours) - expected).abs().max() < 1e-4
        pixels = (self.ours.decode_latents(latents) / 2 + 0.5).clamp(0, 1)
        assert (pixels - draw("pt")).abs().max() < 1e-4


def load_pair(folder: Path, pipeline: Any, *, parts: Any = None, **how: Any) -> Pair:
    """Load a folder by both; `parts` replace some of theirs, `how` is of `Pair`."""
    theirs = pipeline.from_pretrained(folder, **(parts or {}))
    theirs.set_progress_bar_config(disable=True)
    return Pair(load_generator(folder), theirs, **how)
