"""What every generator family gives to sampling, inversion and tuning: the one interface.

A family (a file in `families/`) knows its encoders, its denoiser and its latents, and is read
beside diffusers' pipeline of the same model. Everything else is written once, over this interface.

Letters as in `schedule`: x_t = alpha_t x_0 + sigma_t eps.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from synthbridge.diffusion.settings import Sampler

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

# What a denoiser says of x_t: the noise eps, v = alpha eps - sigma x_0 (arXiv:2202.00512), or the
# flow eps - x_0 (arXiv:2403.03206).
Prediction = Literal["noise", "v", "flow"]
# How a prompt is made to count for more: two passes, one with the empty prompt; one pass that is
# told the scale; or not at all (distilled models).
Guidance = Literal["classifier-free", "embedded", "none"]

Tokens = tuple[torch.Tensor, ...]  # of N prompts: token ids (N, L), one tensor a text encoder


@dataclass(frozen=True)
class Condition:
    """Encoded prompts, as the denoiser takes them: a row a prompt in every tensor."""

    sequence: torch.Tensor  # (P, L, D)
    pooled: torch.Tensor | None = None  # (P, D')
    mask: torch.Tensor | None = None  # (P, L) bool, the tokens that count; None = all

    def rows(self, index: torch.Tensor) -> "Condition":
        """Return the prompts of `index` (B,), which lies on the same device."""


@dataclass(frozen=True)
class Vocabulary:
    """A text encoder whose table can hold learned words."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    place: int  # of its ids among the family's `Tokens`


class Generator(ABC):
    """A text-to-image model: frozen parts, and how they work together."""

    prediction: Prediction
    guidance: Guidance
    samplers: tuple[Sampler, ...]  # those that make sense for it, the recommended one first
    num_steps: tuple[int, int]  # the fewest and the most that make sense, 1..1000 where any do
    scheduler_config: dict[str, Any]
    latent_shape: tuple[int, int, int]  # (C, h, w) of one image's latents
    image_size: int  # pixels a side of what it draws
    # Where a learned word gets a vector each, one after another in one tensor (D1 + D2 + ...);
    # empty: no word can be learned.
    vocabularies: tuple[Vocabulary, ...]

    @abstractmethod
    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts; ValueError if one is too long for what must read it whole."""

    @abstractmethod
    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts; differentiable in the vectors of `learned_words`."""

    @abstractmethod
    def encode_nothing(self) -> Condition:
        """Encode what guidance pulls away from, one row: the empty prompt, or zeros."""

    @abstractmethod
    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the denoiser says of x (B, C, h, w), float32 and of the same shape.

        Args:
            x: latents; the family packs and casts them.
            timesteps: () or (B,), as the schedule lists them (diffusers' scheduler.timesteps).
            condition: a row an image.
            scale: of embedded guidance; other kinds leave it alone.
        """

    @abstractmethod
    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation (B, C, h, w) of the latents of pixels (B, 3, H, W) in -1..1.

        Float32, in the units in which the denoiser works.
        """

    @abstractmethod
    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels (B, 3, H, W), about -1..1, float32."""
