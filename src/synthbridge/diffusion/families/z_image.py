"""Z-Image: Qwen3, a transformer that takes each image with a text of its own length.

Beside it: diffusers' ZImagePipeline. Its denoiser counts time from the noise to the image, and says
x_0 - eps where the others say eps - x_0. Z-Image-Turbo draws in 8 steps without guidance; its base
knows classifier-free guidance.
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
    load_qwen_reader,
)
from synthbridge.diffusion.generator import Condition, Tokens
from synthbridge.diffusion.parts import load_part
from synthbridge.diffusion.to_device import send

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    from transformers import Qwen3Model

PIPELINE = "ZImagePipeline"


class ZImage(FlowMatching):
    """The models, and the noise schedule that they were trained with."""

    name = "Z-Image"
    repeated_blocks = ("ZImageTransformerBlock",)
    guidance = "classifier-free"

    def __init__(
        self,
        read: Callable[[Sequence[str]], Tokens],
        qwen: "Qwen3Model",
        transformer: "ZImageTransformer2DModel",
        vae: "AutoencoderKL",
        scheduler_config: dict[str, Any],
        distillation: Distillation | None,
    ):
        """Take the parts of a folder, and how it was distilled to few steps, if it was."""
        self.read, self.text_encoders = read, (qwen,)
        self.denoiser, self.vae, self.scheduler_config = transformer, vae, scheduler_config
        self.become(distillation)
        self.image_size, side = image_side(vae)
        self.latent_shape = (transformer.config["in_channels"], side, side)

    def spread(self, num_steps: int) -> Spread:
        """Lay the steps evenly, and shift them with the image's size where it is asked."""
        return Spread(even_sigmas(num_steps), linear_mu(self.num_tokens, self.scheduler_config))

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts and which of them count, or refuse one that is too long."""
        return self.read(prompts)

    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts by Qwen3's last layer but one, and say which tokens count."""
        ids, counts = (send(part, self.device) for part in tokens)
        return Condition(in_passes(self._encode, ids, counts), mask=counts.bool())

    def _encode(self, ids: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        qwen = self.text_encoders[0]
        out = qwen(ids, attention_mask=counts, output_hidden_states=True, use_cache=False)
        return out.hidden_states[-2].to(self.dtype)

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the transformer says of x, as the others say it."""
        assert condition.mask is not None
        texts = [
            text[counts] for text, counts in zip(condition.sequence, condition.mask, strict=True)
        ]
        images = list(x.to(self.dtype)[:, :, None].unbind())  # (C, 1, h, w): one frame each
        time = (1000 - timesteps.expand(len(x))) / 1000
        flow = self.denoiser(images, time, texts, return_dict=False)[0]
        return -torch.stack(list(flow)).squeeze(2).float()


def load(folder: Path) -> ZImage:
    """Load a folder in diffusers' layout: CPU, frozen."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

    return ZImage(
        load_reader(folder),
        load_part(Qwen3Model, folder / "text_encoder"),
        load_part(ZImageTransformer2DModel, folder / "transformer"),
        load_part(AutoencoderKL, folder / "vae"),
        read_config(folder, "scheduler/scheduler_config.json"),
        read_distillation(folder),
    )


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts and no weights: a function that does what `tokenize` does."""
    return load_qwen_reader(folder / "tokenizer", thinks=True)
