from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config

from synthbridge.upstream.backbone import (
    draw_letters,
    make_backbone,
    save_backbone,
    train_backbone,
)
from synthbridge.upstream.glyphs import draw_glyph
from synthbridge.upstream.settings import BackboneSettings

SETTINGS = BackboneSettings(
    model="test_resnet",
    input_size=24,
    num_images=104,
    num_steps=20,
    batch_size=26,
    learning_rate=3e-3,
    seed=6,
)


def test_letters_come_equally_often():
    images, labels = draw_letters(60, 24, 6)
    assert images.shape == (60, 3, 24, 24) and images.min() >= -1 and images.max() <= 1
    assert labels.tolist() == [*range(26), *range(26), *range(8)]


def test_a_letter_is_the_enlarged_normalised_glyph():
    images, _ = draw_letters(3, 24, 6)
    rng = np.random.default_rng([6, 2])
    glyph = draw_glyph("C" if rng.random() < 0.5 else "c", rng)
    enlarged = Image.fromarray(glyph.pixels).resize((24, 24), Image.Resampling.BICUBIC)
    expected = (torch.from_numpy(np.array(enlarged)) / 255 - 0.5) / 0.5
    assert torch.allclose(images[2], expected.expand(3, -1, -1), atol=1e-6)


def test_training_fits_a_few_letters():
    images, labels = draw_letters(52, 24, 6)
    settings = SETTINGS.model_copy(update={"num_steps": 100})
    accuracies = list(train_backbone(make_backbone("test_resnet", 24, 6), images, labels, settings))
    assert np.mean(accuracies[:5]) < 0.2 and np.mean(accuracies[-5:]) > 0.6


def test_saved_model_loads_with_a_fresh_head_and_its_own_preprocessing(tmp_path: Path):
    model = make_backbone("test_resnet", 24, 6).eval()
    save_backbone(model, tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=10).eval()
    images = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        features = model.forward_features(images)  # pyright: ignore
        assert torch.equal(loaded.forward_features(images), features)  # pyright: ignore
        assert loaded(images).shape == (2, 10)
    known = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).pretrained_cfg
    assert known["num_classes"] == 26
    data = resolve_data_config({}, pretrained_cfg=known)
    assert data["input_size"] == (3, 24, 24) and data["interpolation"] == "bicubic"
    assert list(data["mean"]) == list(data["std"]) == [0.5, 0.5, 0.5]
