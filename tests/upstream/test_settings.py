from typing import Any

import pytest

from house import ROOT
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.upstream.settings import (
    BackboneFile,
    BackboneSettings,
    GeneratorSettings,
    HubBackbone,
    HubModel,
    PoolSettings,
    UpstreamSettings,
)


def make_values(**changes: Any) -> dict[str, Any]:
    values = {"num_images": 10, "images_per_shard": 5, "style_fraction": 0.7, "seed": 0}
    return {**values, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_images": 0}, "pool.num_images is 0; it should be greater than 0"),
        (
            {"style_fraction": 1.5},
            "pool.style_fraction is 1.5; it should be less than or equal to 1",
        ),
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


FILE = {
    "file": "a.safetensors",
    "sha256": None,
    "model": "resnet18",
    "model_args": {},
    "num_classes": 10,
    "input_size": 224,
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
}


def check_upstream(**changes: Any) -> UpstreamSettings:
    values = read_yaml(ROOT / "params.yaml")["upstream"]
    return check_settings(UpstreamSettings, {**values, **changes}, "upstream")


def test_a_group_is_what_its_keys_say():
    hub = {"hub": "a/b", "revision": "0" * 40}
    settings = check_upstream(pool=None, clip=None, generator=hub)
    assert isinstance(settings.generator, HubModel) and settings.clip is None
    assert isinstance(settings.backbone, BackboneSettings)
    assert isinstance(check_upstream(clip=hub, generator=hub).clip, HubModel)
    timm_name = check_upstream(backbone={"hub": "resnet50.a1_in1k", "revision": None}).backbone
    assert isinstance(timm_name, HubBackbone)
    assert isinstance(check_upstream(backbone=FILE).backbone, BackboneFile)
    assert isinstance(check_upstream().generator, GeneratorSettings)
    assert check_upstream(pool=None, clip=None, generator=None).generator is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clip": {"hub": "a/b"}}, r"upstream: generator is the miniature's, .* is the hub's a/b"),
        ({"clip": None}, "upstream: generator is the miniature's, .* but clip is null"),
        ({"pool": None}, "upstream: clip is the miniature's, .* but pool is null; give pool"),
        ({"generator": {"hub": "a/b", "revision": 7}}, "generator.revision is 7; it should be a"),
        ({"backbone": {**FILE, "mean": [0.5]}}, r"upstream.backbone.mean is \[0.5\]; List should"),
    ],
)
def test_what_cannot_be_made_is_said(changes: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        check_upstream(**changes)
