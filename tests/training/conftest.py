"""A tiny timm model in the layout of the timm hub, and a recipe."""

import pytest
import timm
import torch
from accelerate import Accelerator
from timm.models import save_for_hf

from synthbridge.training.images import Augmentation, Normalisation
from synthbridge.training.recipe import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=5)
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 16, 16]}
    save_for_hf(
        model, str(folder), model_config={"pretrained_cfg": config}, safe_serialization=True
    )
    return folder


@pytest.fixture(scope="session")
def team():
    return Team(Accelerator(cpu=True), rank=0, size=1)


@pytest.fixture
def recipe():
    settings = TrainingSettings(
        batch_size=8,
        momentum=0.9,
        weight_decay=5e-4,
        image_size=16,
        resize_size=16,
        min_crop_area=0.8,
        max_stretch=1.1,
        augment=True,
        normalisation="backbone",
        start="backbone",
        frozen_norm="eval",
    )
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    return Recipe(settings, normalisation, Augmentation(0.8, 1.1, flip=False))
