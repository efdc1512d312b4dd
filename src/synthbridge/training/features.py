"""A frozen model's features, and how well a linear classifier reads them."""

import numpy as np
import torch
from torch import nn

from synthbridge.training.images import ImageSet, centre_crop
from synthbridge.training.loop import TEST_BATCH, Recipe

REGULARISATIONS = (0.1, 1.0, 10.0)  # inverse strengths; the best on held-out images is taken


@torch.inference_mode()
def extract_features(model: nn.Module, images: ImageSet, recipe: Recipe) -> np.ndarray:
    """Return the pooled features before the head: (N, D) float32, without augmentation."""
    model.eval()
    device = images.labels.device
    parts = []
    for index in torch.arange(len(images), device=device).split(TEST_BATCH):
        inputs = recipe.normalisation(centre_crop(images.images[index], recipe.settings.image_size))
        maps = model.forward_features(inputs)  # pyright: ignore[reportCallIssue]
        pooled = model.forward_head(maps, pre_logits=True)  # pyright: ignore[reportCallIssue]
        parts.append(pooled.float().cpu().numpy())
    return np.concatenate(parts)


def fixed_feature_accuracy(features: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    """Return the test accuracy of a logistic regression on frozen features (Bridged, table 6).

    Args:
        features: of the splits train, validation and test, each (N, D).
        labels: of the same splits, each (N,).
    """
    from sklearn.linear_model import LogisticRegression

    mean, std = features["train"].mean(0), features["train"].std(0) + 1e-6
    scaled = {split: (values - mean) / std for split, values in features.items()}
    models = [
        LogisticRegression(C=strength, max_iter=500).fit(scaled["train"], labels["train"])
        for strength in REGULARISATIONS
    ]
    best = max(models, key=lambda model: model.score(scaled["validation"], labels["validation"]))
    return float(best.score(scaled["test"], labels["test"]))
