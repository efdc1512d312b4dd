"""Families in small: the parts and the traps of the released ones, thin, for images of 64 pixels.

What a benchmark runs on a CPU, where the released models would take hours.
"""

from dataclasses import replace
from typing import Any

import torch
from released import FAMILIES, Family, Part, at_size

SIZE = 64  # pixels a side; latents of 8


def _thin(part: Part, **config: Any) -> Part:
    """Change a part's configuration, and count what it then holds."""
    thin = replace(part, config={**part.config, **config})
    with torch.device("meta"):
        model = thin.make()
    return replace(thin, num_parameters=sum(weights.numel() for weights in model.parameters()))


def _thin_clip(part: Part, width: int) -> Part:
    heads = {"num_hidden_layers": 3, "num_attention_heads": 4}
    return _thin(
        part, hidden_size=width, intermediate_size=4 * width, projection_dim=width, **heads
    )


def _thin_vae(part: Part) -> Part:
    return _thin(part, block_out_channels=(16, 32, 32, 32), norm_num_groups=8)


def small_sdxl() -> Family:
    """Return a small Stable Diffusion XL."""
    family = at_size(FAMILIES["sdxl"], SIZE)
    parts = {
        "unet": _thin(
            family.parts["unet"],
            block_out_channels=(32, 64, 64),
            norm_num_groups=8,
            cross_attention_dim=64 + 96,
            transformer_layers_per_block=(1, 1, 3),
            attention_head_dim=(2, 4, 4),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 96,
        ),
        "vae": _thin_vae(family.parts["vae"]),
        "text_encoder": _thin_clip(family.parts["text_encoder"], 64),
        "text_encoder_2": _thin_clip(family.parts["text_encoder_2"], 96),
    }
    return replace(family, parts=parts)


def small_sd3() -> Family:
    """Return a small Stable Diffusion 3.5 medium."""
    family = at_size(FAMILIES["sd-3.5-medium"], SIZE)
    parts = {
        "transformer": _thin(
            family.parts["transformer"],
            num_layers=6,
            attention_head_dim=16,
            num_attention_heads=6,
            joint_attention_dim=192,
            caption_projection_dim=96,
            pooled_projection_dim=64 + 96,
            pos_embed_max_size=16,
            dual_attention_layers=(0, 1, 2),
        ),
        "vae": _thin_vae(family.parts["vae"]),
        "text_encoder": _thin_clip(family.parts["text_encoder"], 64),
        "text_encoder_2": _thin_clip(family.parts["text_encoder_2"], 96),
        "text_encoder_3": _thin(
            family.parts["text_encoder_3"],
            d_model=192,
            d_kv=16,
            d_ff=256,
            num_layers=3,
            num_heads=4,
        ),
    }
    return replace(family, parts=parts)


SMALL = {"sdxl": small_sdxl, "sd-3.5-medium": small_sd3}
