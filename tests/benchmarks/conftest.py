"""The benchmarks are scripts: their folder is put on the path as Python puts a script's."""

import sys

import pytest

from house import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import architectures as sd
import scales
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from synthbridge.diffusion.generator import Generator

torch.set_num_threads(1)  # as the benchmarks do on a CPU
WIDTH = 32  # numbers a token


def make_unet():
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
    )


def make_vae():
    return AutoencoderKL(
        sample_size=16,
        block_out_channels=(8, 16, 16),
        latent_channels=4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        scaling_factor=0.18215,
    )


def make_text_encoder():
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=sd.NUM_WORDS,
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=sd.TEXT_LENGTH,
            bos_token_id=sd.NUM_WORDS - 2,
            eos_token_id=sd.NUM_WORDS - 1,
        )
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """What the benchmarks find at full size, with tiny models in the place of the real ones."""
    parts = {"unet": make_unet, "vae": make_vae, "text_encoder": make_text_encoder}
    numbers = {name: sd.count_parameters(make()) for name, make in parts.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sd, "PARTS", parts)
        patch.setattr(sd, "NUM_PARAMETERS", numbers)
        with scales.open_world("full", tmp_path_factory.mktemp("full")) as world:
            yield world


@pytest.fixture
def bfloat16(monkeypatch):
    """Let the models go where they go on a GPU: UNet and VAE to bfloat16, the text to float32."""

    def to_fastest(model, device):
        model.to(device, torch.bfloat16)
        model.text_encoders[0].float()
        return model

    monkeypatch.setattr(Generator, "to_fastest", to_fastest)
