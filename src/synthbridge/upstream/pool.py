"""The pool: captioned digits in many fonts and styles, the miniature LAION."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthbridge.data.shards import encode_png, index_shards, read_image, write_shard
from synthbridge.diffusion.prompts import STYLE_PROMPT
from synthbridge.prompts.templates import TEMPLATES
from synthbridge.upstream.glyphs import draw_glyph
from synthbridge.upstream.settings import PoolSettings

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_STYLE_WORDS = 4  # that one caption names


@dataclass(frozen=True)
class Pool:
    """A pool in memory: images (N, 16, 16, 3) uint8, N class indices, N captions."""

    images: np.ndarray
    labels: np.ndarray
    captions: list[str]


def write_caption(
    class_name: str, words: tuple[str, ...], *, style_fraction: float, rng: np.random.Generator
) -> str:
    """Write the caption of an image of `class_name` to which the style `words` apply.

    A fraction `style_fraction` of the captions names one to four of the words, in random order; the
    others, and those of images without any word, use one of the 27 templates.
    """
    if words and rng.random() < style_fraction:
        num_words = int(rng.integers(1, min(MAX_STYLE_WORDS, len(words)) + 1))
        named = rng.permutation(words)[:num_words]
        return STYLE_PROMPT.format(class_name, " ".join(named))
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(class_name)


def draw_sample(index: int, settings: PoolSettings) -> dict[str, Any]:
    """Draw image `index` of the pool from its own seed; returns it as a WebDataset sample."""
    rng = np.random.default_rng([settings.seed, index])
    label = index % len(CLASS_NAMES)
    glyph = draw_glyph(str(label), rng)
    caption = write_caption(
        CLASS_NAMES[label], glyph.words, style_fraction=settings.style_fraction, rng=rng
    )
    return {
        "__key__": f"{index:08d}",
        "png": encode_png(np.repeat(glyph.pixels[..., None], 3, axis=-1)),
        "cls": label,
        "json": {"caption": caption, "font": glyph.font, "style_words": list(glyph.words)},
    }


def write_pool_shard(settings: PoolSettings, shard: int, folder: Path) -> int:
    """Write shard number `shard` of the pool into `folder`; returns its number of images."""
    start = shard * settings.images_per_shard
    indices = range(start, min(start + settings.images_per_shard, settings.num_images))
    return write_shard(
        folder / f"{shard:05d}.tar", (draw_sample(index, settings) for index in indices)
    )


def count_shards(settings: PoolSettings) -> int:
    """Count the shards of the pool."""
    return -(-settings.num_images // settings.images_per_shard)


def read_pool(folder: Path) -> Pool:
    """Read all images and captions of the pool in `folder`.

    Raises:
        ValueError: if it holds no shard, or one that is not whole.
    """
    samples = index_shards(folder)
    return Pool(
        images=np.stack([np.asarray(read_image(sample)) for sample in samples]),
        labels=np.array([sample.label for sample in samples]),
        captions=[sample.record["caption"] for sample in samples],
    )


def scale_pixels(images: np.ndarray) -> Tensor:
    """Turn images (N, H, W, 3) uint8 into a tensor (N, 3, H, W) of -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
