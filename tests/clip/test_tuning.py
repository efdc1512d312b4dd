import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny_clip import save_tiny_clip

from synthbridge.clip.embedding import load_clip
from synthbridge.clip.settings import ClipTuningSettings
from synthbridge.clip.tuning import TuningImages, probabilities, tune, zero_shot_weights

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's, arXiv:1711.05101


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def settings(**changes):
    values = {
        "sets": [],
        "num_epochs": 1,
        "learning_rate": 0.1,
        "weight_decay": 0.1,
        "real_batch_size": 4,
        "synthetic_batch_size": 8,
        **changes,
    }
    return ClipTuningSettings.model_validate(values)


def draw(count, *, seed, classes=3, width=5, noise=0.5):
    """Draw unit vectors around one centre a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    vectors = np.random.default_rng(99).normal(size=(classes, width))[labels]
    vectors += noise * rng.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return torch.from_numpy(vectors.astype(np.float32)), torch.from_numpy(labels)


def gradient(weights, features, labels):
    """Return the gradient of the mean cross-entropy: (softmax - one-hot)' x / N, in numpy."""
    logits = features @ weights.T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return (shares - np.eye(len(weights))[labels]).T @ features / len(labels)


def adamw(weights, gradients, rate, decay):
    """Return `weights` after steps along `gradients(weights, step)`; cosine rate, norm below 1."""
    mean = square = np.zeros_like(weights)
    for step in range(len(rate)):
        slope = gradients(weights)
        slope = slope / max(1.0, np.linalg.norm(slope) + 1e-6)
        mean = BETA1 * mean + (1 - BETA1) * slope
        square = BETA2 * square + (1 - BETA2) * slope**2
        unbiased = mean / (1 - BETA1 ** (step + 1))
        scale = np.sqrt(square / (1 - BETA2 ** (step + 1))) + EPSILON
        weights = weights * (1 - rate[step] * decay) - rate[step] * unbiased / scale
    return weights


def test_steps_on_two_kinds_of_images_are_those_of_adamw_on_the_sum_of_the_losses():
    real, synthetic = draw(4, seed=0), draw(8, seed=1)
    start = np.random.default_rng(2).normal(size=(3, 5)) * 8
    rates = [0.1 * 0.5 * (1 + math.cos(math.pi * step / 3)) for step in range(3)]

    def slope(weights):
        return sum(gradient(weights, x.double().numpy(), y.numpy()) for x, y in (synthetic, real))

    expected = adamw(start, slope, rates, decay=0.1)
    # Whole batches: the order of the images changes nothing.
    images = [TuningImages(*synthetic, 8), TuningImages(*real, 4)]
    tuned = tune(torch.from_numpy(start).float(), images, settings(num_epochs=3), seed=0)
    np.testing.assert_allclose(tuned.weights.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert tuned.gradient_steps == 3 and len(tuned.train_loss) == 3


def test_an_epoch_is_one_pass_through_the_first_images_and_drops_nothing():
    images = [TuningImages(*draw(10, seed=0), 4), TuningImages(*draw(3, seed=1), 2)]
    start = torch.zeros(3, 5)
    tuned = tune(start, images, settings(num_epochs=2), seed=0)
    assert tuned.gradient_steps == 6
    assert not start.any() and tuned.weights.any()  # the start stays as it is
    again = tune(start, images, settings(num_epochs=2), seed=0)
    assert torch.equal(tuned.weights, again.weights)
    other = tune(start, images, settings(num_epochs=2), seed=1)
    assert not torch.equal(tuned.weights, other.weights)


def test_long_tuning_without_decay_finds_what_scikit_learn_finds():
    """Multinomial regression with classes that overlap has one optimum, up to a shift a feature."""
    features, labels = draw(300, seed=3, noise=2.0)
    long = settings(num_epochs=400, weight_decay=0.0)
    tuned = tune(torch.zeros(3, 5), [TuningImages(features, labels, 300)], long, seed=0)
    reference = LogisticRegression(C=1e6, fit_intercept=False, max_iter=5000, tol=1e-8)
    expected = reference.fit(features.numpy(), labels.numpy()).predict_proba(features.numpy())
    assert np.abs(probabilities(tuned.weights, features) - expected).max() < 0.02
    accuracy = (expected.argmax(1) == labels.numpy()).mean()
    assert tuned.train_accuracy[-1] == pytest.approx(accuracy, abs=0.02)


def test_zero_shot_answers_are_the_models_own(clip_folder):
    """With one prompt a class the classifier is CLIP itself."""
    clip = load_clip(clip_folder, torch.device("cpu"))
    images = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    texts = ["a photo of a seven", "bold", "seven"]
    weights = zero_shot_weights(clip, [[text] for text in texts])
    features = torch.from_numpy(clip.embed_images(images))
    tokens = clip.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        theirs = clip.model(input_ids=tokens, pixel_values=pixels).logits_per_image.softmax(1)
    np.testing.assert_allclose(probabilities(weights, features), theirs.numpy(), atol=1e-5)


def test_several_prompts_are_averaged_as_unit_vectors(clip_folder):
    clip = load_clip(clip_folder, torch.device("cpu"))
    texts = ["a photo of a seven", "bold"]
    (row,) = zero_shot_weights(clip, [texts]).numpy()
    mean = clip.embed_texts(texts).sum(axis=0)
    np.testing.assert_allclose(row / clip.temperature, mean / np.linalg.norm(mean), atol=1e-6)
