"""A tiny untrained CLIP in a folder."""

from pathlib import Path

import numpy as np

from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.pool import write_caption
from synthbridge.upstream.tokenizer import train_tokenizer


def save_tiny_clip(folder: Path) -> Path:
    """Save a CLIP with drawn weights and a real tokenizer to `folder`."""
    rng = np.random.default_rng(0)
    captions = [write_caption("seven", ("bold",), style_fraction=0.5, rng=rng) for _ in range(50)]
    save_clip(make_clip(train_tokenizer(captions, folder), seed=0), folder)
    return folder
