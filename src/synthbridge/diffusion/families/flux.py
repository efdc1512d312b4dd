"""FLUX.1: CLIP's pooled text, T5, a transformer on packed latents.

Beside it: diffusers' FluxPipeline. FLUX.1-schnell draws in 1 to 4 steps and knows no guidance;
FLUX.1-dev (`guidance_embeds`) is told the scale, in one pass.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.generator_folders import read_config
from synthbridge.diffusion.families.flow_matching import (
    FlowMatching,
    Spread,
    even_sigmas,
    image_side,
    in_passes,
    linear_mu,
    load_large_tokenizer,
    pack,
    unpack,
)
from synthbridge.diffusion.generator import Condition, Tokens
from synthbridge.diffusion.parts import load_part, load_text_encoder
from synthbridge.diffusion.text import load_tokenizer, tokenize, tokenize_cut
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from transformers import CLIPTextModel, T5EncoderModel

PIPELINE = "FluxPipeline"
# Tokens of T5 that a prompt is padded to: schnell was distilled with fewer (its model card).
SCHNELL_TOKENS, DEV_TOKENS = 256, 512


class Flux(FlowMatching):
    """The models, and the noise schedule that they were trained with."""

    name = "FLUX.1"
    repeated_blocks = ("FluxTransformerBlock", "FluxSingleTransformerBlock")

    def __init__(
        self,
        read: Callable[[Sequence[str]], Tokens],
        clip: "CLIPTextModel",
        t5: "T5EncoderModel",
        transformer: "FluxTransformer2DModel",
        vae: "AutoencoderKL",
        scheduler_config: dict[str, Any],
        distillation: Distillation | None,
    ):
        """Take the parts of a folder, and how it was distilled to few steps, if it was."""
        self.read, self.text_encoders = read, (clip, t5)
        self.denoiser, self.vae, self.scheduler_config = transformer, vae, scheduler_config
        self.is_told_scale = transformer.config["guidance_embeds"]
        self.guidance = "embedded" if self.is_told_scale else "none"
        self.become(distillation)
        self.image_size, side = image_side(vae)
        self.latent_shape = (transformer.config["in_channels"] // 4, side, side)

    def spread(self, num_steps: int) -> Spread:
        """Lay the steps evenly, and shift them with the image's size where it is asked."""
        return Spread(even_sigmas(num_steps), linear_mu(self.num_tokens, self.scheduler_config))

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts, or refuse one that is too long."""
        return self.read(prompts)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts by T5, and by CLIP's pooled text."""
        clip, t5 = self.text_encoders
        pooled = clip(send(tokens[0], self.device)).pooler_output.to(self.dtype)
        ids = send(tokens[1], self.device)
        text = in_passes(lambda part: t5(part, return_dict=False)[0].to(self.dtype), ids)
        return Condition(text, pooled)

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the transformer says of x, which it takes and gives as tokens."""
        text, side = condition.sequence, x.shape[-1]
        flow = self.denoiser(
            pack(x).to(self.dtype),
            encoder_hidden_states=text,
            pooled_projections=condition.pooled,
            timestep=timesteps.expand(len(x)) / 1000,
            guidance=x.new_full((len(x),), scale) if self.is_told_scale else None,
            txt_ids=x.new_zeros(text.shape[1], 3),
            img_ids=_places(side // 2, x.device),
            return_dict=False,
        )[0]
        return unpack(flow.float(), side)


def _places(side: int, device: torch.device) -> torch.Tensor:
    """Return where each token of an image lies (side * side, 3): 0, row, column."""
    steps = torch.arange(side, device=device, dtype=torch.float32)
    return torch.cartesian_prod(steps[:1], steps, steps)


def load(folder: Path) -> Flux:
    """Load a folder in diffusers' layout: CPU, frozen."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from transformers.models.clip.modeling_clip import CLIPTextModel
    from transformers.models.t5.modeling_t5 import T5EncoderModel

    return Flux(
        load_reader(folder),
        load_text_encoder(CLIPTextModel, folder / "text_encoder"),
        load_part(T5EncoderModel, folder / "text_encoder_2"),
        load_part(FluxTransformer2DModel, folder / "transformer"),
        load_part(AutoencoderKL, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
        read_distillation(folder),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: T5 must read them whole, CLIP cuts them."""
    clip = load_tokenizer(folder / "tokenizer")
    t5 = load_large_tokenizer(folder / "tokenizer_2")
    is_told_scale = read_config(folder, "transformer/config.json").get("guidance_embeds")
    longest = DEV_TOKENS if is_told_scale else SCHNELL_TOKENS
    return lambda prompts: (tokenize_cut(clip, prompts), tokenize(t5, prompts, longest))
