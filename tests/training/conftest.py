"""A tiny timm model in the layout of the timm hub, and a recipe."""

import pytest
from accelerate import Accelerator

from quarters import training_settings, write_backbone
from synthbridge.training.crops import Augmentation
from synthbridge.training.images import Normalisation
from synthbridge.training.recipe import Recipe
from synthbridge.training.team import Team


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="session")
def team():
    return Team(Accelerator(cpu=True), rank=0, size=1)


@pytest.fixture
def recipe():
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    return Recipe(training_settings(), normalisation, Augmentation(0.8, 1.1, flip=False))
