"""The miniature CLIP: a text and an image tower, trained contrastively on the pool."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer
from transformers.utils import logging

from synthbridge.upstream.glyphs import IMAGE_SIZE
from synthbridge.upstream.optimisation import descend, take_steps
from synthbridge.upstream.pool import Pool, scale_pixels
from synthbridge.upstream.settings import ClipSettings
from synthbridge.upstream.tokenizer import train_tokenizer

IMAGE_MEAN = IMAGE_STD = 0.5  # of pixels in 0..1: the towers see -1..1, as the VAE does


def write_clip(settings: ClipSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Train a CLIP on the pool; write the model, its tokenizer and its image processor."""
    pool = read()
    tokenizer = train_tokenizer(pool.captions, folder)
    model = make_clip(tokenizer, settings.seed)
    steps = train_clip(model, tokenizer, pool, settings)
    take_steps(steps, settings.num_steps, "training CLIP")
    save_clip(model, folder)


def make_clip(tokenizer: CLIPTokenizer, seed: int) -> CLIPModel:
    """Make an untrained CLIPModel for the vocabulary of `tokenizer`."""
    torch.manual_seed(seed)  # transformers draws initial weights from the global generator
    # OpenCLIP's activation: OpenAI's quick GELU is three passes on a CPU, not one.
    tower = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "hidden_act": "gelu",
    }
    text = {
        **tower,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**tower, "num_hidden_layers": 3, "image_size": IMAGE_SIZE, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def make_image_processor() -> CLIPImageProcessor:
    """Make the processor that turns any image into what the image tower takes."""
    return CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[IMAGE_MEAN] * 3,
        image_std=[IMAGE_STD] * 3,
    )


def save_clip(model: CLIPModel, folder: Path) -> None:
    """Save `model` and its image processor to `folder`, where its tokenizer lies already."""
    logging.disable_progress_bar()  # of half a second
    model.save_pretrained(folder)
    make_image_processor().save_pretrained(folder)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return the token ids (N, 16) of `captions`, padded as StableDiffusionPipeline pads them."""
    encoded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return encoded.input_ids


def train_clip(
    model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, settings: ClipSettings
) -> Iterator[float]:
    """Train `model` in place to match images and captions (arXiv:2103.00020); yields each loss."""
    tokens, images = tokenize(tokenizer, pool.captions), scale_pixels(pool.images)
    rng = np.random.default_rng([settings.seed, 1])
    model.train()
    with descend(model, settings.learning_rate, settings.num_steps, max_norm=1.0) as step:
        for _ in range(settings.num_steps):
            chosen = torch.from_numpy(rng.choice(len(images), settings.batch_size, replace=False))
            ids, pixels = tokens[chosen], images[chosen]
            loss = model(input_ids=ids, pixel_values=pixels, return_loss=True).loss
            step(loss)
            yield loss.item()
    model.eval()
