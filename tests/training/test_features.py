import numpy as np
import torch

from quarters import make_images
from synthbridge.training.classifier import load_backbone
from synthbridge.training.crops import centre_crop
from synthbridge.training.features import extract_features, fixed_feature_accuracies
from synthbridge.training.heads import HeadRecipe, fresh_head


def test_features_are_what_the_head_reads(backbone, recipe):
    model = load_backbone(backbone, num_classes=4, seed=0)
    images = make_images(5)
    features = extract_features(model, images, recipe)
    inputs = recipe.normalisation(centre_crop(images.images, 16))
    with torch.no_grad():
        expected = model(inputs)
        through_head = model.fc(features)
    assert torch.allclose(through_head, expected, atol=1e-4)


def _measure(features, labels, settings, rates=(0.1, 0.01)):
    features = {split: torch.from_numpy(table).float() for split, table in features.items()}
    labels = {split: torch.from_numpy(y) for split, y in labels.items()}
    seeds = (0, 1)
    width = features["train"].shape[1]
    starts = [fresh_head(width, 2, seed) for seed in seeds]
    recipe = HeadRecipe(settings, rates, num_epochs=20)
    return fixed_feature_accuracies([features] * 2, labels, starts, recipe, seeds)


def test_linear_heads_read_separable_features_and_no_noise(recipe):
    rng = np.random.default_rng(0)
    sizes = {"train": 80, "validation": 40, "test": 400}
    labels = {split: rng.integers(0, 2, count) for split, count in sizes.items()}
    clear = {split: rng.normal(0, 0.3, (len(y), 3)) + y[:, None] * 2 for split, y in labels.items()}
    noise = {split: rng.normal(0, 1, (len(y), 3)) for split, y in labels.items()}
    assert min(_measure(clear, labels, recipe.settings)) > 0.98
    assert np.abs(np.subtract(_measure(noise, labels, recipe.settings), 0.5)).max() < 0.1


def test_the_rate_is_chosen_on_validation_whatever_test_says(recipe):
    """Test labels turned round: the rate that reads them worst is chosen all the same."""
    rng = np.random.default_rng(1)
    y = {split: rng.integers(0, 2, 60) for split in ("train", "validation", "test")}
    table = {split: y[split][:, None] * 2.0 - 1 + rng.normal(0, 0.2, (60, 3)) for split in y}
    turned = {**y, "test": 1 - y["test"]}
    rates = (1e-9, 0.1)  # at the first one a head stays as it was drawn
    right = _measure(table, y, recipe.settings, rates)
    assert min(right) > 0.95
    assert np.allclose(_measure(table, turned, recipe.settings, rates), 1 - np.array(right))
