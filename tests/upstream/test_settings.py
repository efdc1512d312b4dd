from typing import Any

import pytest

from synthbridge.settings import check_settings
from synthbridge.upstream.settings import GeneratorSettings, PoolSettings


def make_values(**changes: Any) -> dict[str, Any]:
    values = {"num_images": 10, "images_per_shard": 5, "style_share": 0.7, "seed": 0}
    return {**values, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_images": 0}, "pool.num_images is 0; it should be greater than 0"),
        ({"style_share": 1.5}, "pool.style_share is 1.5; it should be less than or equal to 1"),
        ({"seed": "1"}, "pool.seed is '1'; it should be a valid integer"),
        ({"colour": True}, "pool.colour is not a known key; choose from images_per_shard"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        check_settings(PoolSettings, make_values(**changes), "pool")


def test_nested_values_are_named():
    run = {"num_steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    values = {"vae": run, "unet": {**run, "num_steps": -1}, "caption_dropout": 0.1, "seed": 0}
    with pytest.raises(ValueError, match=r"generator\.unet\.num_steps is -1"):
        check_settings(GeneratorSettings, values, "generator")
