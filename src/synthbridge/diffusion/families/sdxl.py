"""Stable Diffusion XL (arXiv:2307.01952): two CLIPs, a UNet that is told sizes, a VAE.

Beside it: diffusers' StableDiffusionXLPipeline.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.generator_folders import read_config
from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.generator import Condition, Tokens, Vocabulary
from synthbridge.diffusion.parts import load_part, load_text_encoder
from synthbridge.diffusion.text import load_tokenizer, tokenize
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

PIPELINE = "StableDiffusionXLPipeline"


class StableDiffusionXL(StableDiffusion):
    """The models, and the noise schedule that they were trained with."""

    name = "Stable Diffusion XL"

    def __init__(
        self,
        tokenizers: "tuple[CLIPTokenizer, CLIPTokenizer]",
        text_encoders: "tuple[CLIPTextModel, CLIPTextModelWithProjection]",
        unet: "UNet2DConditionModel",
        vae: "AutoencoderKL",
        scheduler_config: dict[str, Any],
        *,
        empty_is_zeros: bool,
        distillation: Distillation | None = None,
    ):
        """Take the parts of a folder."""
        super().__init__(tokenizers[0], text_encoders[0], unet, vae, scheduler_config, distillation)
        self.empty_is_zeros = empty_is_zeros
        self.text_encoders: tuple[Any, ...] = text_encoders
        # Of both encoders, or the learned word says nothing (diffusers pull request 9010).
        self.vocabularies = tuple(
            Vocabulary(tokenizer, encoder, place)
            for place, (tokenizer, encoder) in enumerate(
                zip(tokenizers, text_encoders, strict=True)
            )
        )
        # Original size, crop, target size: a whole image of the size that is drawn.
        size = float(self.image_size)
        self.time_ids = torch.tensor([size, size, 0, 0, size, size])

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts for both encoders, which pad differently."""
        return _tokenize([vocabulary.tokenizer for vocabulary in self.vocabularies], prompts)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts: the last but one layer of both, joined, and what the second pools."""
        states = [
            encoder(send(ids, encoder.device), output_hidden_states=True)
            for encoder, ids in zip(self.text_encoders, tokens, strict=True)
        ]
        sequence = torch.cat([state.hidden_states[-2] for state in states], dim=-1)
        pooled = self._pool(states[1].last_hidden_state, tokens[1])
        return Condition(sequence.to(self.dtype), pooled.to(self.dtype))

    def _pool(self, text: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Read encoded prompts (N, L, D) where CLIP does, at the first end-of-text: (N, P).

        The encoder itself would take the highest id where its configuration says eos_token_id 2, as
        SDXL's does: a learned word's place, since new words have the highest ids.
        """
        end_of_text = self.vocabularies[1].tokenizer.eos_token_id
        assert isinstance(end_of_text, int)
        end = torch.eq(ids, end_of_text).int().argmax(1)
        rows = torch.arange(len(ids), device=text.device)
        return self.text_encoders[1].text_projection(text[rows, send(end, text.device)])

    def _added(self, condition: Condition) -> dict[str, torch.Tensor] | None:
        """Return what the UNet takes besides the sequence: the pooled text, and sizes."""
        assert condition.pooled is not None
        time_ids = send(self.time_ids, condition.pooled.device)
        return {
            "text_embeds": condition.pooled,
            "time_ids": time_ids.expand(len(condition.pooled), -1),
        }


def _tokenize(tokenizers: "Sequence[CLIPTokenizer]", prompts: Sequence[str]) -> Tokens:
    return tuple(tokenize(tokenizer, prompts) for tokenizer in tokenizers)


def load(folder: Path) -> StableDiffusionXL:
    """Load a folder in diffusers' layout: float32, CPU, frozen."""
    # From their own modules: the packages' front doors import more.
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    index = read_config(folder, "model_index.json")
    return StableDiffusionXL(
        (load_tokenizer(folder / "tokenizer"), load_tokenizer(folder / "tokenizer_2")),
        (
            load_text_encoder(CLIPTextModel, folder / "text_encoder"),
            load_text_encoder(CLIPTextModelWithProjection, folder / "text_encoder_2"),
        ),
        load_part(UNet2DConditionModel, folder / "unet"),
        load_part(AutoencoderKL, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
        empty_is_zeros=index.get("force_zeros_for_empty_prompt", True),
        distillation=read_distillation(folder),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: a function that does what `tokenize` does."""
    tokenizers = [load_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2")]
    return lambda prompts: _tokenize(tokenizers, prompts)
