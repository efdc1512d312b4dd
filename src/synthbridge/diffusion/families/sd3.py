"""Stable Diffusion 3 and 3.5 (arXiv:2403.03206): two CLIP with projection, T5, a transformer.

Beside it: diffusers' StableDiffusion3Pipeline. CLIP's two texts lie side by side, filled up with
zeros to T5's width, and T5's text follows them. Without T5 zeros stand in its place, as diffusers
has it: less of a long prompt is read, in a third of the memory.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from synthbridge.data.generator_folders import read_config
from synthbridge.diffusion.families.flow_matching import (
    FlowMatching,
    Spread,
    in_passes,
    linear_mu,
    load_large_tokenizer,
)
from synthbridge.diffusion.generator import Condition, Tokens
from synthbridge.diffusion.parts import load_part, load_text_encoder
from synthbridge.diffusion.text import load_tokenizer, tokenize, tokenize_cut
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

PIPELINE = "StableDiffusion3Pipeline"
T5_TOKENS = 256  # tokens of T5 that a prompt is padded to


class StableDiffusion3(FlowMatching):
    """The models, and the noise schedule that they were trained with."""

    name = "Stable Diffusion 3"
    repeated_blocks = ("JointTransformerBlock",)
    guidance = "classifier-free"

    def __init__(
        self,
        read: Callable[[Sequence[str]], Tokens],
        text_encoders: Sequence[Any],
        transformer: "SD3Transformer2DModel",
        vae: "AutoencoderKL",
        scheduler_config: dict[str, Any],
    ):
        """Take the parts of a folder; `text_encoders` are the two CLIP and, or not, T5."""
        self.read, self.text_encoders = read, tuple(text_encoders)
        self.denoiser, self.vae, self.scheduler_config = transformer, vae, scheduler_config
        side = transformer.config["sample_size"]
        self.latent_shape = (transformer.config["in_channels"], side, side)
        self.image_size = side * 2 ** (len(vae.config["block_out_channels"]) - 1)

    def spread(self, num_steps: int) -> Spread:
        """Leave the steps to the scheduler, and shift them as diffusers does where it is asked."""
        return Spread(None, linear_mu(self.num_tokens, self.scheduler_config, max_shift=1.16))

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts, or refuse one that is too long."""
        return self.read(prompts)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts: (N, 77 + 256, D), and CLIP's projected texts side by side."""
        texts = [
            _encode_clip(clip, ids)
            for clip, ids in zip(self.text_encoders[:2], tokens[:2], strict=True)
        ]
        width = self.denoiser.config["joint_attention_dim"]
        clip = torch.cat([text[0] for text in texts], dim=-1).to(self.dtype)
        clip = pad(clip, (0, width - clip.shape[-1]))
        t5 = self._encode_t5(tokens, clip)
        pooled = torch.cat([text[1] for text in texts], dim=-1)
        return Condition(torch.cat([clip, t5], dim=1), pooled.to(self.dtype))

    def _encode_t5(self, tokens: Tokens, clip: torch.Tensor) -> torch.Tensor:
        if len(self.text_encoders) == 2:
            return clip.new_zeros(len(clip), T5_TOKENS, clip.shape[-1])
        t5 = self.text_encoders[2]
        ids = send(tokens[2], self.device)
        return in_passes(lambda part: t5(part, return_dict=False)[0].to(self.dtype), ids)

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the transformer says of x."""
        return self.denoiser(
            x.to(self.dtype),
            encoder_hidden_states=condition.sequence,
            pooled_projections=condition.pooled,
            timestep=timesteps.expand(len(x)),
            return_dict=False,
        )[0].float()


def _encode_clip(clip: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the last layer but one (N, L, D) and the projected text (N, P)."""
    out = clip(send(ids, clip.device), output_hidden_states=True)
    return out.hidden_states[-2], out.text_embeds


def load(folder: Path) -> StableDiffusion3:
    """Load a folder in diffusers' layout: CPU, frozen."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection
    from transformers.models.t5.modeling_t5 import T5EncoderModel

    encoders = [
        load_text_encoder(CLIPTextModelWithProjection, folder / part)
        for part in ("text_encoder", "text_encoder_2")
    ]
    if (folder / "text_encoder_3").is_dir():
        encoders.append(load_part(T5EncoderModel, folder / "text_encoder_3"))
    return StableDiffusion3(
        load_reader(folder),
        encoders,
        load_part(SD3Transformer2DModel, folder / "transformer"),
        load_part(AutoencoderKL, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: a function that does what `tokenize` does.

    T5 must read a prompt whole, and CLIP's two cut it; without T5 they must read it whole.
    """
    clips = [load_tokenizer(folder / part) for part in ("tokenizer", "tokenizer_2")]
    if not (folder / "tokenizer_3").is_dir():
        return lambda prompts: tuple(tokenize(clip, prompts) for clip in clips)
    t5 = load_large_tokenizer(folder / "tokenizer_3")

    def read(prompts: Sequence[str]) -> Tokens:
        whole = tokenize(t5, prompts, T5_TOKENS)
        return (*(tokenize_cut(clip, prompts) for clip in clips), whole)

    return read
