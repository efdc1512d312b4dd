"""A whole Stable Diffusion folder, tiny, with random weights and a tokenizer of a toy corpus."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.loading import load_generator
from synthbridge.prompts.templates import TEMPLATES

torch.set_num_threads(1)  # on a busy machine the threads of tiny models wait for one another

CLASS_NAMES = ("cat", "dog", "sea lion")
LENGTH = 24  # tokens a prompt
WIDTH = 32  # numbers a token


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator as diffusers saves it."""
    return write_stable_diffusion(tmp_path_factory.mktemp("generator"))


def write_stable_diffusion(folder: Path, **of_unet: Any) -> Path:
    """Write a model in the original layout, its UNet changed by `of_unet`; returns `folder`."""
    torch.manual_seed(0)
    own = folder.with_name(f"{folder.name}-tokenizer")
    own.mkdir()
    tokenizer = make_tokenizer(own)
    text_encoder = make_text_encoder(tokenizer)
    config: dict[str, Any] = {
        "sample_size": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
    unet = UNet2DConditionModel(**{**config, **of_unet})
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.9,
        sample_size=16,
    )
    schedule = DDPMScheduler(  # as Stable Diffusion 1.5's
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )
    StableDiffusionPipeline(
        vae,
        text_encoder,
        tokenizer,
        unet,
        schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


VARIANTS: dict[str, dict[str, Any]] = {
    "v": {"prediction_type": "v_prediction"},  # as Stable Diffusion 2.1 at 768 pixels
    "v, zero SNR": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
    # As diffusers' own pipeline draws a flow: DPM-Solver++ says of itself what it solves.
    "flow": {
        "_class_name": "DPMSolverMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 2.0,
    },
}


@pytest.fixture
def variant(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make a copy of the folder whose schedule says that another thing is predicted."""

    return lambda name: make_variant(shutil.copytree(folder, tmp_path / "variant"), name)


def make_variant(folder: Path, name: str) -> Path:
    """Change what a folder says of its schedule; returns `folder`."""
    config = folder / "scheduler" / "scheduler_config.json"
    values = {**json.loads(config.read_text()), **VARIANTS[name]}
    config.write_text(json.dumps(values))
    index = folder / "model_index.json"
    parts = json.loads(index.read_text())
    parts["scheduler"] = ["diffusers", values["_class_name"]]
    index.write_text(json.dumps(parts))
    return folder


@pytest.fixture
def generator(folder: Path) -> StableDiffusion:
    """The generator, loaded afresh: a test may add a style token to it."""
    generator = load_generator(folder)
    assert isinstance(generator, StableDiffusion)
    return generator


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Make the text tower of CLIP in small."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Train CLIP's byte-level BPE on the templates and three class names."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = [template.format(name) for template in TEMPLATES for name in CLASS_NAMES]
    corpus = [text.replace(".", " .") for text in texts]  # a word of its own, as CLIP reads it
    corpus += ["a photo in the style of a style"] * 20
    trainer = trainers.BpeTrainer(
        vocab_size=900, end_of_word_suffix="</w>", initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(corpus, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), *trained["vocab"]]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    merges = [" ".join(m) if isinstance(m, list) else m for m in trained["merges"]]
    vocab = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)
