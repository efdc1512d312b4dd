"""FLUX.2 klein: three layers of Qwen3, a transformer on packed latents that a batch norm scales.

Beside it: diffusers' Flux2KleinPipeline. The base knows classifier-free guidance, the distilled
model (`is_distilled`) draws in 4 steps without.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.generator_folders import read_config
from synthbridge.diffusion.families.flow_matching import (
    FlowMatching,
    Spread,
    even_sigmas,
    image_side,
    in_passes,
    load_qwen_reader,
)
from synthbridge.diffusion.generator import Condition, Tokens
from synthbridge.diffusion.parts import load_part
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
    from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
    from transformers import Qwen3Model

PIPELINE = "Flux2KleinPipeline"
TEXT_LAYERS = (9, 18, 27)  # of Qwen3, side by side


class Flux2Klein(FlowMatching):
    """The models, and the noise schedule that they were trained with.

    A latent here is what the denoiser takes: 2 x 2 of the VAE's, one upon another, normalised.
    """

    name = "FLUX.2 klein"
    repeated_blocks = ("Flux2TransformerBlock", "Flux2SingleTransformerBlock")
    guidance = "classifier-free"

    def __init__(
        self,
        read: Callable[[Sequence[str]], Tokens],
        qwen: "Qwen3Model",
        transformer: "Flux2Transformer2DModel",
        vae: "AutoencoderKLFlux2",
        scheduler_config: dict[str, Any],
        distillation: Distillation | None,
    ):
        """Take the parts of a folder, and how it was distilled to few steps, if it was."""
        self.read, self.text_encoders = read, (qwen,)
        self.denoiser, self.vae, self.scheduler_config = transformer, vae, scheduler_config
        self.become(distillation)
        self.image_size, side = image_side(vae)
        self.latent_shape = (transformer.config["in_channels"], side // 2, side // 2)
        # Kept beside the VAE, which may compute in bfloat16: (C, 1, 1).
        mean, variance = vae.bn.running_mean, vae.bn.running_var
        assert mean is not None and variance is not None
        self.mean = mean.float()[:, None, None]
        self.std = (variance.float() + vae.config["batch_norm_eps"]).sqrt()[:, None, None]

    @property
    def num_tokens(self) -> int:
        """Tokens of one image: a latent each."""
        return self.latent_shape[1] * self.latent_shape[2]

    def spread(self, num_steps: int) -> Spread:
        """Lay the steps evenly, and shift them with the image's size and their number."""
        return Spread(even_sigmas(num_steps), _empirical_mu(self.num_tokens, num_steps))

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts and which of them count, or refuse one that is too long."""
        return self.read(prompts)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts by three layers of Qwen3 (N, 512, 3 D), the tokens that pad included."""
        return Condition(in_passes(self._encode, *(send(part, self.device) for part in tokens)))

    def _encode(self, ids: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        qwen = self.text_encoders[0]
        out = qwen(ids, attention_mask=counts, output_hidden_states=True, use_cache=False)
        return torch.cat([out.hidden_states[layer] for layer in TEXT_LAYERS], dim=-1).to(self.dtype)

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the transformer says of x, which it takes and gives as tokens."""
        text, side = condition.sequence, x.shape[-1]
        flow = self.denoiser(
            x.flatten(2).transpose(1, 2).to(self.dtype),
            encoder_hidden_states=text,
            timestep=timesteps.expand(len(x)) / 1000,
            guidance=None,
            txt_ids=_places(1, text.shape[1], x.device),
            img_ids=_places(side, 1, x.device),
            return_dict=False,
        )[0]
        return flow.float().transpose(1, 2).unflatten(2, (side, side))

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the VAE's posterior, 2 x 2 in one and normalised."""
        posterior = self.vae.encode(pixels.to(self.vae.dtype), return_dict=False)[0]
        mean = pixel_unshuffle(posterior.mean.float(), 2) - send(self.mean, pixels.device)
        std = send(self.std, pixels.device)
        return mean / std, pixel_unshuffle(posterior.std.float(), 2) / std

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels."""
        mean, std = send(self.mean, latents.device), send(self.std, latents.device)
        latents = pixel_shuffle(latents * std + mean, 2)
        return self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0].float()


def _empirical_mu(num_tokens: int, num_steps: int) -> float:
    """Return how far the steps are shifted, as FLUX.2 does: fitted by its authors.

    Two lines in the tokens of an image, one for 10 steps and one for 200; between them a line in
    the steps. For large images the second alone.
    """
    at_10 = 8.73809524e-05 * num_tokens + 1.89833333
    at_200 = 0.00016927 * num_tokens + 0.45666666
    if num_tokens > 4300:
        return at_200
    return at_200 + (at_200 - at_10) / 190 * (num_steps - 200)


def _places(side: int, length: int, device: torch.device) -> torch.Tensor:
    """Return where each token lies (N, 4): 0, row and column in an image, place in a text."""
    square, line = torch.arange(side, device=device), torch.arange(length, device=device)
    return torch.cartesian_prod(square[:1], square, square, line)


def load(folder: Path) -> Flux2Klein:
    """Load a folder in diffusers' layout: CPU, frozen."""
    from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
    from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
    from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

    return Flux2Klein(
        load_reader(folder),
        load_part(Qwen3Model, folder / "text_encoder"),
        load_part(Flux2Transformer2DModel, folder / "transformer"),
        load_part(AutoencoderKLFlux2, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
        read_distillation(folder),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: a function that does what `tokenize` does."""
    return load_qwen_reader(folder / "tokenizer", thinks=False)
