"""What `bridge`, `finetune` and `probe` feed their models with."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from synthbridge.data.shards import Sample, read_square
from synthbridge.training.classifier import read_normalisation
from synthbridge.training.images import Augmentation, ImageSet, load_images
from synthbridge.training.loop import Recipe
from synthbridge.training.settings import TrainingSettings


def make_recipe(settings: TrainingSettings, backbone: Path, flip: bool) -> Recipe:
    """Put the recipe together from params.yaml, the backbone's statistics and the data set."""
    augmentation = Augmentation(settings.min_crop_area, settings.max_stretch, flip)
    return Recipe(settings, read_normalisation(backbone), augmentation)


def load_samples(samples: Sequence[Sample], size: int, device: torch.device) -> ImageSet:
    """Decode samples into memory; above SYNTHBRIDGE_CACHE_GIB (16) they stay in their shards."""
    limit = float(os.environ.get("SYNTHBRIDGE_CACHE_GIB", "16"))
    return load_images(
        samples,
        [sample.label for sample in samples],
        read_square,
        size=size,
        device=device,
        memory_limit=int(limit * 2**30),
    )
