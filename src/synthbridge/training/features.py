"""A frozen model's features, and how well linear heads read them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from synthbridge.training.heads import head_accuracies, train_heads
from synthbridge.training.images import ImageSet, centre_crop
from synthbridge.training.loop import TEST_BATCH, Recipe
from synthbridge.training.settings import TrainingSettings


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
    settings: TrainingSettings,
    *,
    learning_rates: Sequence[float],
    num_epochs: int,
    seeds: Sequence[int],
) -> list[float]:
    """Return the test accuracy of linear heads on frozen features (Bridged, table 6), run by run.

    The rate is the one whose mean accuracy over the runs is best on the validation images; of
    equals the one listed first. As in `select`, test images decide nothing.

    Args:
        features: of each run: of the splits train, validation and test, each (N, D).
        labels: of the same splits, each (N,).
        starts: the head that each run starts from, (C, D + 1).
        settings: batch size, momentum and weight decay, as of every leg.
        learning_rates: peaks to choose from.
        num_epochs: passes over the training images.
        seeds: one a run, which draws its batches.
    """
    heads = train_heads(
        [splits["train"] for splits in features],
        labels["train"],
        starts,
        settings,
        learning_rates=learning_rates,
        num_epochs=num_epochs,
        seeds=seeds,
    )
    accuracies = {
        split: head_accuracies(heads, [splits[split] for splits in features], labels[split])
        for split in ("validation", "test")
    }
    best = int(np.argmax(accuracies["validation"].mean(0)))
    return accuracies["test"][:, best].tolist()
