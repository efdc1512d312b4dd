import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from synthbridge.training.classifier import load_backbone, renew_head
from synthbridge.training.heads import (
    HeadRecipe,
    fresh_head,
    head_accuracies,
    linear_head,
    train_heads,
)
from synthbridge.training.loop import steps
from synthbridge.training.schedule import cosine_rate

RATES, SEEDS, NUM_EPOCHS = (0.1, 0.03, 0.01, 0.003, 0.001), (0, 1, 2), 4


def _features(seed, count=30, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(30) % 3


def _train(features, seeds, rates, settings, starts=None):
    starts = starts or [fresh_head(6, 3, seed) for seed in seeds]
    return train_heads(features, LABELS, starts, HeadRecipe(settings, rates, NUM_EPOCHS), seeds)


@pytest.mark.parametrize("are_shared", [True, False])
def test_stacked_heads_are_those_trained_alone(recipe, are_shared):
    shared = _features(9)
    features = [shared if are_shared else _features(seed) for seed in SEEDS]
    stacked = _train(features, SEEDS, RATES, recipe.settings)
    assert stacked.shape == (3, 5, 3, 7)
    for run, seed in enumerate(SEEDS):
        for place, rate in enumerate(RATES):
            alone = _train([features[run]], [seed], [rate], recipe.settings)
            assert torch.allclose(stacked[run, place], alone[0, 0], atol=1e-6)
    assert not torch.allclose(stacked[0], stacked[1], atol=1e-3)  # seeds differ


def test_a_head_is_trained_as_a_linear_layer_by_torchs_sgd(recipe):
    """The reference: nn.Linear, autograd and torch.optim.SGD on the loop's own batches."""
    settings, features = recipe.settings, _features(4)
    start = fresh_head(6, 3, 7)
    layer = nn.Linear(6, 3)
    with torch.no_grad():
        layer.weight.copy_(start[:, :-1])
        layer.bias.copy_(start[:, -1])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    num_steps = NUM_EPOCHS * 4  # 30 images at 8 a batch
    for step, (batch, _) in enumerate(steps(30, settings.batch_size, 7, num_steps)):
        cross_entropy(layer(features[batch]), LABELS[batch]).backward()
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(0.1, step, num_steps)
        optimizer.step()
        optimizer.zero_grad()
    mine = _train([features], [7], [0.1], settings, [start])[0, 0]
    assert torch.allclose(mine[:, :-1], layer.weight, atol=1e-5)
    assert torch.allclose(mine[:, -1], layer.bias, atol=1e-5)


def test_accuracies_by_hand():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    labels = torch.tensor([0, 1, 1])
    reads = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 1.0]])  # class 1 where both are set
    always_first = torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
    heads = torch.stack([reads, always_first])[None]
    assert np.allclose(head_accuracies(heads, [features], labels), [[1, 1 / 3]])


def test_a_fresh_head_is_what_fc_reinit_draws(backbone):
    model = load_backbone(backbone, num_classes=5, seed=0)
    renew_head(model, 3, 11)
    head = linear_head(model)
    assert torch.equal(head, fresh_head(head.shape[1] - 1, 3, 11))
