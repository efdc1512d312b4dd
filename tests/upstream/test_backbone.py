from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config

from synthbridge.files import hash_folder
from synthbridge.stages import backbone as stage
from synthbridge.upstream.backbone import draw_letters, make_backbone, save_backbone, train_backbone
from synthbridge.upstream.glyphs import draw_glyph
from synthbridge.upstream.settings import BackboneSettings

SETTINGS = BackboneSettings(
    model="test_resnet", input_size=24, num_images=104, num_steps=20, batch_size=26,
    learning_rate=3e-3, seed=6,
)  # fmt: skip


def test_letters_are_the_same_with_any_number_of_processes():
    one, labels = draw_letters(60, 24, 6, num_processes=1)
    two, _ = draw_letters(60, 24, 6, num_processes=2)
    assert torch.equal(one, two) and one.shape == (60, 3, 24, 24)
    assert labels.tolist() == [*range(26), *range(26), *range(8)]
    assert one.min() >= -1 and one.max() <= 1


def test_a_letter_is_the_enlarged_normalised_glyph():
    images, _ = draw_letters(3, 24, 6, num_processes=1)
    rng = np.random.default_rng([6, 2])
    glyph = draw_glyph("C" if rng.random() < 0.5 else "c", rng)
    enlarged = Image.fromarray(glyph.pixels).resize((24, 24), Image.Resampling.BICUBIC)
    expected = (torch.from_numpy(np.array(enlarged)) / 255 - 0.5) / 0.5
    assert torch.allclose(images[2], expected.expand(3, -1, -1), atol=1e-6)


def test_training_fits_a_few_letters():
    images, labels = draw_letters(52, 24, 6, num_processes=1)
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


def test_stage_repeats_itself(tmp_path: Path):
    for name in ("one", "two"):
        stage.backbone(SETTINGS, out=tmp_path / name)
    assert hash_folder(tmp_path / "one") == hash_folder(tmp_path / "two")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


def test_unknown_model_is_refused_in_a_sentence(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"model": "resnet_of_mine"})
    with pytest.raises(ValueError, match=r"'resnet_of_mine', which timm does not have; choose"):
        stage.backbone(settings, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
