"""A whole SDXL folder, tiny, with random weights and every trap of the published configurations."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusion.conftest import LENGTH, make_tokenizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

WIDTHS = (32, 24)  # numbers a word of the two encoders
POOLED = 16
SCHEDULE = {  # as SDXL base's
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    # What Euler does not read, and other schedulers made from it do.
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}


def text_config(tokenizer: CLIPTokenizer, width: int, **changes: Any) -> CLIPTextConfig:
    """Return a text tower's configuration; its ids of special tokens are wrong, as SDXL's are."""
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "projection_dim": POOLED,
    }
    return CLIPTextConfig(**{**values, **changes})


def make_unet(**changes: Any) -> UNet2DConditionModel:
    values: dict[str, Any] = {
        "sample_size": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
        "cross_attention_dim": sum(WIDTHS),
        "attention_head_dim": (2, 4),
        "norm_num_groups": 8,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
    }
    return UNet2DConditionModel(**{**values, **changes})


def make_vae(**changes: Any) -> AutoencoderKL:
    values: dict[str, Any] = {
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "scaling_factor": 0.13025,
        "sample_size": 16,
        "force_upcast": True,
    }
    return AutoencoderKL(**{**values, **changes})


def write_sdxl(
    folder: Path,
    *,
    scheduler: Any = None,
    force_zeros_for_empty_prompt: bool = True,
    unet: dict[str, Any] | None = None,
    encoders: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a model in the original layout; returns `folder`."""
    torch.manual_seed(seed)
    own = folder.with_name(f"{folder.name}-tokenizer")
    own.mkdir()
    make_tokenizer(own)
    tokenizers = [
        CLIPTokenizer.from_pretrained(own, model_max_length=LENGTH, **pad)
        for pad in ({}, {"pad_token": "!"})
    ]
    StableDiffusionXLPipeline(
        vae=make_vae(),
        text_encoder=CLIPTextModel(text_config(tokenizers[0], WIDTHS[0], **(encoders or {}))),
        text_encoder_2=CLIPTextModelWithProjection(
            text_config(tokenizers[1], WIDTHS[1], **(encoders or {}))
        ),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=make_unet(**(unet or {})),
        scheduler=scheduler or EulerDiscreteScheduler.from_config(SCHEDULE),
        force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def change(folder: Path, config: str, **changes: Any) -> None:
    """Change keys of a configuration."""
    values = json.loads((folder / config).read_text())
    (folder / config).write_text(json.dumps({**values, **changes}))
