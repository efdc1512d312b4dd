"""The backbone: a small timm classifier trained on letters, the miniature ImageNet."""

import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.models import save_for_hf
from torch import Tensor, nn
from torch.nn import functional as F

from synthbridge.upstream.glyphs import draw_glyph
from synthbridge.upstream.optimisation import descend, take_steps
from synthbridge.upstream.settings import BackboneSettings

LETTERS = string.ascii_uppercase  # the classes; small letters belong to their capitals
PIXEL_MEAN = PIXEL_STD = (0.5, 0.5, 0.5)  # of pixels in 0..1
RESAMPLING = Image.Resampling.BICUBIC


def write_backbone(settings: BackboneSettings, folder: Path) -> None:
    """Draw letters, train on them, and write the model in timm's layout."""
    model = make_backbone(settings.model, settings.input_size, settings.seed)
    images, labels = draw_letters(settings.num_images, settings.input_size, settings.seed)
    steps = train_backbone(model, images, labels, settings)
    take_steps(steps, settings.num_steps, "training the backbone")
    save_backbone(model, folder)


def draw_letter(index: int, input_size: int, seed: int) -> np.ndarray:
    """Draw letter image `index` from its own seed; returns (S, S) uint8 of S = `input_size`."""
    rng = np.random.default_rng([seed, index])
    letter = LETTERS[index % len(LETTERS)]
    glyph = draw_glyph(letter if rng.random() < 0.5 else letter.lower(), rng)
    # Drawn at 16 pixels and enlarged, as the digits will be.
    enlarged = Image.fromarray(glyph.pixels).resize((input_size, input_size), RESAMPLING)
    return np.asarray(enlarged)


def draw_letters(num_images: int, input_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the training images.

    Returns:
        Images (N, 3, S, S) of S = `input_size` pixels, normalised, and class indices (N,).
    """
    pixels = np.stack([draw_letter(index, input_size, seed) for index in range(num_images)])
    images = torch.from_numpy(pixels).float().div(255).unsqueeze(1).expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (images - mean) / std, torch.arange(num_images) % len(LETTERS)


def make_backbone(model: str, input_size: int, seed: int) -> nn.Module:
    """Make an untrained timm `model` for letters of `input_size` pixels a side."""
    torch.manual_seed(seed)  # timm draws initial weights from the global generator
    overlay = {
        "input_size": (3, input_size, input_size),
        "mean": PIXEL_MEAN,
        "std": PIXEL_STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": len(LETTERS),
        "tag": "letters",
        "pool_size": None,
    }
    return timm.create_model(model, num_classes=len(LETTERS), pretrained_cfg_overlay=overlay)


def train_backbone(
    model: nn.Module, images: Tensor, labels: Tensor, settings: BackboneSettings
) -> Iterator[float]:
    """Train `model` in place on `images` (N, 3, S, S); yields the accuracy of each batch."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore
    generator = torch.Generator().manual_seed(settings.seed)
    model.train()
    with descend(model, settings.learning_rate, settings.num_steps) as step:
        for _ in range(settings.num_steps):
            chosen = torch.randint(len(images), (settings.batch_size,), generator=generator)
            logits = model(images[chosen].to(memory_format=torch.channels_last))
            step(F.cross_entropy(logits, labels[chosen]))
            yield (logits.argmax(1) == labels[chosen]).float().mean().item()
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore
    model.eval()


def save_backbone(model: nn.Module, folder: Path) -> None:
    """Save `model` as timm's hub keeps models: config.json and model.safetensors."""
    save_for_hf(model, str(folder), safe_serialization=True)
