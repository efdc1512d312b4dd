"""A frozen model's features, and how well linear heads read them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from synthbridge.training.crops import centre_crop
from synthbridge.training.heads import HeadRecipe, head_accuracies, train_heads
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import TEST_BATCH
from synthbridge.training.recipe import Recipe


@torch.inference_mode()
def extract_features(model: nn.Module, images: ImageSet, recipe: Recipe) -> Tensor:
    """Return the pooled features before the head: (N, D) float32, without augmentation."""
    model.eval()
    device = images.labels.device
    parts = []
    for index in torch.arange(len(images), device=device).split(TEST_BATCH):
        inputs = recipe.normalisation(centre_crop(images.at(index), recipe.settings.image_size))
        maps = model.forward_features(inputs)  # pyright: ignore[reportCallIssue]
        pooled = model.forward_head(maps, pre_logits=True)  # pyright: ignore[reportCallIssue]
        parts.append(pooled.float())
    return torch.cat(parts)


def fixed_feature_accuracies(
    features: Sequence[Mapping[str, Tensor]],
    labels: Mapping[str, Tensor],
    starts: Sequence[Tensor],
    recipe: HeadRecipe,
    seeds: Sequence[int],
) -> list[float]:
    """Return the test accuracy of linear heads on frozen features (Bridged, table 6), run by run.

    The rate is the one whose mean accuracy over the runs is best on the validation images; of
    equals the one listed first. As in `select`, test images decide nothing.

    Args:
        features: of each run: of the splits train, validation and test, each (N, D).
        labels: of the same splits, each (N,).
        starts: the head that each run starts from, (C, D + 1).
        recipe: how the heads are trained; its rates are those to choose from.
        seeds: one a run, which draws its batches.
    """
    train = [splits["train"] for splits in features]
    heads = train_heads(train, labels["train"], starts, recipe, seeds)
    accuracies = {
        split: head_accuracies(heads, [splits[split] for splits in features], labels[split])
        for split in ("validation", "test")
    }
    best = int(np.argmax(accuracies["validation"].mean(0)))
    return accuracies["test"][:, best].tolist()
