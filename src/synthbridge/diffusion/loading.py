"""Loading: a Stable Diffusion folder becomes its models, part by part, without running its code."""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from synthbridge.data.stable_diffusion import WEIGHTS, check_configs

if TYPE_CHECKING:  # they take seconds to import: only where a generator is loaded
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True)
class TextToImage:
    """A text-to-image model: frozen parts, and the noise schedule that it was trained with."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    scheduler_config: dict[str, Any]

    @property
    def device(self) -> "torch.device":
        """Where the models lie."""
        return self.unet.device

    @property
    def dtype(self) -> "torch.dtype":
        """What the UNet computes in, by one look; diffusers' own goes through all its modules."""
        return self.unet.conv_in.weight.dtype

    @property
    def image_size(self) -> int:
        """Pixels a side of what it draws."""
        return self.unet.config["sample_size"] * self.pixels_per_latent

    @property
    def pixels_per_latent(self) -> int:
        """Pixels a latent stands for, each way: every block of the VAE but the last halves."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    def to(self, device: "torch.device | str", dtype: "torch.dtype | None" = None) -> "TextToImage":
        """Move the models, in place, and return self."""
        from torch import nn

        for model in (self.text_encoder, self.unet, self.vae):
            nn.Module.to(model, device=device, dtype=dtype)  # diffusers' own warns for nothing
        return self

    def to_fastest(self, device: "torch.device | str") -> "TextToImage":
        """Move the models: UNet and VAE in bfloat16 on a GPU that has it, else in float32.

        The text encoder stays in float32: it costs next to nothing, and a style token's gradient
        comes through it.
        """
        import torch

        is_fast = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
        self.to(device, torch.bfloat16 if is_fast else torch.float32)
        self.text_encoder.float()
        return self

    def compiled(self) -> "TextToImage":
        """Return the same models with a UNet whose operations torch's compiler fuses.

        It compiles when the UNet first meets a shape, for half a minute or more, and keeps what it
        made on disk. Numbers differ from the plain UNet's by rounding, and by nothing else: no
        kernel is chosen by timing, so that the same batch gives the same bytes again.

        Raises:
            ValueError: if there is no compiler for what torch's compiler writes.
        """
        import torch

        _require_compiler()
        # A shape at a time: code for any batch would hang on which batch it met first.
        unet = torch.compile(self.unet, dynamic=False, options={"deterministic": True})
        return replace(self, unet=unet)


def _require_compiler() -> None:
    """Refuse to compile where torch would find nothing to do it with."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    if not any(name and shutil.which(name) for name in names):
        raise ValueError(
            "compile is true, but there is no C++ compiler here; install g++, or set it to false"
        )


def load_text_to_image(folder: Path) -> TextToImage:
    """Load a Stable Diffusion folder in diffusers' layout: float32, CPU, frozen.

    Raises:
        ValueError: if the folder is missing, of another kind, damaged, or without safetensors.
    """
    scheduler_config = _check_folder(folder)
    try:
        return TextToImage(*_load_parts(folder), scheduler_config)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder} is damaged ({' '.join(str(error).split())}); fetch it again, with its "
            "large files and not pointers to them (git lfs pull)"
        ) from None


def _load_parts(folder: Path) -> tuple[Any, Any, Any, Any]:
    import torch

    # From their own modules: the packages' front doors import more.
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # a bar for half a second of reading
    text_encoder = CLIPTextModel.from_pretrained(
        folder / "text_encoder", local_files_only=True, use_safetensors=True
    )
    unet = UNet2DConditionModel.from_pretrained(
        folder / "unet", local_files_only=True, use_safetensors=True
    )
    vae = AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True)
    models: tuple[Any, ...] = (text_encoder, unet, vae)
    for model in models:
        # Convolutions are quicker with channels last: 5 % of a step on a CPU.
        model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return tokenizer, text_encoder, unet, vae


def _check_folder(folder: Path) -> dict[str, Any]:
    """Refuse a folder that we cannot draw with; return its noise schedule's settings."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name a Stable Diffusion folder that is on disk")
    config = check_configs(folder, str(folder))
    for weights in WEIGHTS:
        if not (folder / weights).is_file():
            part, name = weights.split("/")
            raise ValueError(
                f"{folder / part} has no {name}, and other weights can run code when read; take "
                "a release with safetensors, or convert it once with diffusers' save_pretrained"
            )
    return config
