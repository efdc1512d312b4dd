"""Stable Diffusion 1.5 and the paper's classifiers at full size, with random weights.

The numbers are those of the released configurations; nothing is downloaded. `write_generator` and
`write_backbone` leave the folders that the stages read: diffusers' layout and timm's.
"""

# diffusers' annotations are narrower than what it takes.
# pyright: reportArgumentType=false

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measure  # noqa: F401  (puts the package on the path)
import torch
from torch import nn

from synthbridge.core.files import write_json, write_text

# Parameters of the released weights (arXiv:2112.10752's code, version 1.5).
NUM_PARAMETERS = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
IMAGE_SIZE, LATENT_SIZE = 512, 64  # pixels a side
NUM_WORDS, TEXT_LENGTH, TEXT_WIDTH = 49_408, 77, 768  # CLIP ViT-L/14's text tower

# timm's names, and the parameters of each with ImageNet's 1,000 classes.
CLASSIFIERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "vit_base_patch16_224": 86_567_656,
    "vit_large_patch16_224": 304_326_632,
}
CLASSIFIER_SIZE = 224  # pixels a side

INITIAL_WORD = "style"  # one token, as in CLIP's own vocabulary


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make what is made inside in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_unet() -> Any:
    """Make Stable Diffusion 1.5's UNet."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=TEXT_WIDTH,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        attention_head_dim=8,  # diffusers' name for the number of heads
    )


def make_vae() -> Any:
    """Make Stable Diffusion 1.5's VAE."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(
        sample_size=IMAGE_SIZE,
        latent_channels=4,
        layers_per_block=2,
        scaling_factor=0.18215,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def make_text_encoder() -> Any:
    """Make the text tower of CLIP ViT-L/14."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=NUM_WORDS,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=TEXT_LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=NUM_WORDS - 2,
            eos_token_id=NUM_WORDS - 1,
        )
    )


# What diffusers needs to load the folder as a pipeline: each part's library and class.
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

PARTS: dict[str, Callable[[], Any]] = {
    "unet": make_unet,
    "vae": make_vae,
    "text_encoder": make_text_encoder,
}


def make_classifier(name: str, num_classes: int = 1000) -> nn.Module:
    """Make a classifier of `CLASSIFIERS`."""
    import timm

    return timm.create_model(name, num_classes=num_classes)


def count_parameters(model: nn.Module) -> int:
    """Count a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def write_generator(folder: Path) -> None:
    """Write Stable Diffusion 1.5 in diffusers' layout, float32, part by part."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    for number, (name, make) in enumerate(PARTS.items()):
        torch.manual_seed(number)
        part = make()
        assert count_parameters(part) == NUM_PARAMETERS[name], f"{name}: {count_parameters(part)}"
        part.save_pretrained(folder / name)
        del part  # before the next one: 3.4 GB
    DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    write_tokenizer(folder / "tokenizer")
    write_json(folder / "model_index.json", PIPELINE)


def write_tokenizer(folder: Path) -> None:
    """Write a CLIP tokenizer of 49,408 words that spells all but `INITIAL_WORD` in letters."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # the 256 bytes, as printable characters
    pieces = [*INITIAL_WORD[:-1], f"{INITIAL_WORD[-1]}</w>"]
    merges = [("".join(pieces[:end]), pieces[end]) for end in range(1, len(pieces))]
    words = letters + [f"{letter}</w>" for letter in letters] + ["".join(pair) for pair in merges]
    words += [f"unused{number}</w>" for number in range(len(words), NUM_WORDS - 2)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    write_text(folder / "vocab.json", json.dumps({word: i for i, word in enumerate(words)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_LENGTH}
    write_json(folder / "tokenizer_config.json", facts)


def write_backbone(name: str, folder: Path) -> None:
    """Write a classifier of ImageNet's classes in the layout of timm's hub."""
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = make_classifier(name)
    assert count_parameters(model) == CLASSIFIERS[name], f"{name}: {count_parameters(model)}"
    save_for_hf(model, str(folder), safe_serialization=True)
