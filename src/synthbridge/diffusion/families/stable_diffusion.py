"""Stable Diffusion 1.x and 2.x (arXiv:2112.10752): one CLIP, a UNet, a VAE.

Beside it: diffusers' StableDiffusionPipeline, and of LCM, which is told the guidance scale,
LatentConsistencyModelPipeline (arXiv:2310.04378).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.generator_folders import read_config
from synthbridge.diffusion.generator import Condition, Generator, Tokens, Vocabulary
from synthbridge.diffusion.parts import load_part, load_text_encoder
from synthbridge.diffusion.schedule import prediction_kind
from synthbridge.diffusion.settings import Sampler
from synthbridge.diffusion.text import encode, load_tokenizer, tokenize
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

PIPELINE = "StableDiffusionPipeline"
SAMPLERS: tuple[Sampler, ...] = ("dpm++", "ddpm", "euler", "euler_ancestral")
FLOW_SAMPLERS: tuple[Sampler, ...] = ("dpm++", "euler")


class StableDiffusion(Generator):
    """The models, and the noise schedule that they were trained with."""

    name = "Stable Diffusion"
    guidance = "classifier-free"

    def __init__(
        self,
        tokenizer: "CLIPTokenizer",
        text_encoder: "CLIPTextModel",
        unet: "UNet2DConditionModel",
        vae: "AutoencoderKL",
        scheduler_config: dict[str, Any],
        distillation: Distillation | None = None,
    ):
        """Take the parts of a folder, and how the UNet was distilled, if it was."""
        self.denoiser, self.vae, self.text_encoders = unet, vae, (text_encoder,)
        self.vocabularies = (Vocabulary(tokenizer, text_encoder, place=0),)
        self.scheduler_config = scheduler_config
        self.prediction = prediction_kind(scheduler_config)
        self.samplers = FLOW_SAMPLERS if self.prediction == "flow" else SAMPLERS
        side = unet.config["sample_size"]
        self.latent_shape = (unet.config["in_channels"], side, side)
        # Every block of the VAE but the last halves.
        self.image_size = side * 2 ** (len(vae.config["block_out_channels"]) - 1)
        if distillation:
            self.name = f"{self.name}, {distillation.name}"
            self.guidance = distillation.guidance
            self.samplers, self.num_steps = distillation.samplers, distillation.num_steps

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts, or refuse one that is too long."""
        return (tokenize(self.vocabularies[0].tokenizer, prompts),)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts by CLIP's last layer."""
        return Condition(encode(self.text_encoders[0], tokens[0]).to(self.dtype))

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the UNet says of x."""
        width = self.denoiser.config["time_cond_proj_dim"]
        told = embed_scale(scale, width).expand(len(x), -1) if width else None
        return self.denoiser(
            x.to(self.dtype),
            timesteps,
            condition.sequence,
            timestep_cond=None if told is None else send(told, self.device).to(self.dtype),
            added_cond_kwargs=self._added(condition),
            return_dict=False,
        )[0].float()

    def _added(self, condition: Condition) -> dict[str, torch.Tensor] | None:
        """Return what the UNet takes besides the sequence."""
        return None

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the VAE's posterior, in units of variance about one."""
        posterior = self.vae.encode(pixels.to(self.vae.dtype), return_dict=False)[0]
        unit = self.vae.config["scaling_factor"]
        return posterior.mean.float() * unit, posterior.std.float() * unit

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels."""
        latents = (latents / self.vae.config["scaling_factor"]).to(self.vae.dtype)
        return self.vae.decode(latents, return_dict=False)[0].float()


def embed_scale(scale: float, width: int) -> torch.Tensor:
    """Write a guidance scale as LCM's UNet is told it: (1, width), waves of 1000 (scale - 1)."""
    half = width // 2
    rates = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
    angles = 1000 * (torch.tensor([[scale]]) - 1) * rates
    return torch.cat([angles.sin(), angles.cos(), torch.zeros(1, width % 2)], dim=1)


def load(folder: Path) -> StableDiffusion:
    """Load a folder in diffusers' layout: float32, CPU, frozen."""
    # From their own modules: the packages' front doors import more.
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel

    return StableDiffusion(
        load_tokenizer(folder / "tokenizer"),
        load_text_encoder(CLIPTextModel, folder / "text_encoder"),
        load_part(UNet2DConditionModel, folder / "unet"),
        load_part(AutoencoderKL, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
        read_distillation(folder),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: a function that does what `tokenize` does."""
    tokenizer = load_tokenizer(folder / "tokenizer")
    return lambda prompts: (tokenize(tokenizer, prompts),)
