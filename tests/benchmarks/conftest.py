"""The benchmarks are scripts: their folder is put on the path as Python puts a script's."""

import sys

import pytest

from house import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from dataclasses import replace

import architectures
import scales
import torch
from released import FAMILIES, Family, Part, at_size

from synthbridge.diffusion import generator as generators

torch.set_num_threads(1)  # as the benchmarks do on a CPU
WIDTH = 32  # numbers a token


def tiny_sd() -> Family:
    """Return Stable Diffusion 1.5's parts, tiny, for images of 16 pixels."""
    family = at_size(FAMILIES["sd-1.5"], 32)
    changes = {
        "unet": {
            "sample_size": 4,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": WIDTH,
            "attention_head_dim": 2,
        },
        "vae": {
            "sample_size": 16,
            "block_out_channels": (8, 16, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
        },
        "text_encoder": {
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
    }
    parts = {name: _changed(part, changes[name]) for name, part in family.parts.items()}
    return replace(family, parts=parts, image_size=16, latents=(4, 4, 4))


def _changed(part: Part, changes: dict) -> Part:
    part = replace(part, config={**part.config, **changes})
    with torch.device("meta"):
        return replace(part, num_parameters=architectures.count_parameters(part.make()))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """What the benchmarks find at full size, with tiny models in the place of the real ones."""
    with scales.open_world(tmp_path_factory.mktemp("full"), tiny_sd()) as world:
        yield world


@pytest.fixture
def bfloat16(monkeypatch):
    """Let the models go where they go on a GPU: denoiser and VAE to bfloat16."""
    monkeypatch.setattr(generators, "fastest_dtype", lambda _: torch.bfloat16)
