import numpy as np
import torch

from quarters import make_images
from synthbridge.training.classifier import load_backbone
from synthbridge.training.features import extract_features, fixed_feature_accuracy
from synthbridge.training.images import centre_crop


def test_features_are_what_the_head_reads(backbone, recipe):
    model = load_backbone(backbone, num_classes=4, seed=0)
    images = make_images(5)
    features = extract_features(model, images, recipe)
    inputs = recipe.normalisation(centre_crop(images.images, 16))
    with torch.no_grad():
        expected = model(inputs)
        through_head = model.fc(torch.from_numpy(features))
    assert torch.allclose(through_head, expected, atol=1e-4)


def test_linear_classifier_reads_separable_features_and_no_noise():
    rng = np.random.default_rng(0)
    sizes = {"train": 80, "validation": 40, "test": 400}
    labels = {split: rng.integers(0, 2, count) for split, count in sizes.items()}
    clear = {split: rng.normal(0, 0.3, (len(y), 3)) + y[:, None] * 2 for split, y in labels.items()}
    noise = {split: rng.normal(0, 1, (len(y), 3)) for split, y in labels.items()}
    assert fixed_feature_accuracy(clear, labels) > 0.98
    assert abs(fixed_feature_accuracy(noise, labels) - 0.5) < 0.1
