"""Which statistics and views a recipe makes inputs with; the stages' tests follow them on disk."""

import numpy as np

from quarters import make_images, training_settings
from synthbridge.core.files import write_json
from synthbridge.training.crops import Augmentation, WholeView
from synthbridge.training.images import Normalisation
from synthbridge.training.recipe import (
    describe_normalisation,
    make_recipe,
    measured_recipe,
    recorded_recipe,
)

BACKBONES = Normalisation((0.5,) * 3, (0.25,) * 3)


def _mean(images):
    return images.images.numpy().mean((0, 2, 3)) / 255


def test_the_recipe_is_what_the_settings_say(backbone):
    recipe = make_recipe(training_settings(), backbone, flip=True)
    assert recipe.augmentation == Augmentation(0.8, 1.1, flip=True)
    assert recipe.normalisation == BACKBONES
    plain = make_recipe(training_settings(augment=False), backbone, flip=True)
    assert plain.augmentation == WholeView(16)


def test_statistics_are_of_the_images_that_the_settings_name(backbone):
    real, synthetic = make_images(8, seed=1), make_images(8, num_classes=1, seed=2)
    recipes = {
        name: make_recipe(training_settings(normalisation=name), backbone, flip=False)
        for name in ("backbone", "real", "synthetic")
    }
    measured = {
        name: measured_recipe(recipe, real, synthetic).normalisation
        for name, recipe in recipes.items()
    }
    assert measured["backbone"] == BACKBONES
    assert np.allclose(measured["real"].mean, _mean(real), atol=1e-6)
    assert np.allclose(measured["synthetic"].mean, _mean(synthetic), atol=1e-6)
    # Nothing to measure: the backbone's.
    assert measured_recipe(recipes["synthetic"], real, None).normalisation == BACKBONES


def test_a_record_gives_the_statistics_back(backbone, tmp_path):
    recipe = make_recipe(training_settings(normalisation="real"), backbone, flip=False)
    measured = measured_recipe(recipe, make_images(8), None)
    write_json(tmp_path / "s0.json", describe_normalisation(measured))
    assert recorded_recipe(recipe, tmp_path / "s0.safetensors") == measured
    plain = make_recipe(training_settings(), backbone, flip=False)
    assert describe_normalisation(plain) == {}
    assert recorded_recipe(plain, tmp_path / "s0.safetensors") == plain
