import pytest

from synthbridge.core.files import write_json
from synthbridge.data.generator_folders import (
    STABLE_DIFFUSION,
    check_configs,
    check_weights,
    pieces,
)

SCHEDULE = {"beta_start": 0.00085, "prediction_type": "epsilon"}


@pytest.fixture
def folder(tmp_path):
    for part in STABLE_DIFFUSION.parts:
        (tmp_path / part).mkdir()
    write_json(tmp_path / "model_index.json", {"_class_name": STABLE_DIFFUSION.pipeline})
    write_json(tmp_path / "scheduler/scheduler_config.json", SCHEDULE)
    write_json(tmp_path / "text_encoder/config.json", {})
    write_json(tmp_path / "unet/config.json", {"in_channels": 4})
    write_json(tmp_path / "vae/config.json", {"latent_channels": 4})
    return tmp_path


def test_stable_diffusion_passes(folder):
    assert check_configs(folder, "mine") == STABLE_DIFFUSION


@pytest.mark.parametrize(
    ("config", "values", "sentence"),
    [
        ("model_index.json", {"_class_name": "Wan"}, "mine is a Wan, which we do not know; choose"),
        (
            "model_index.json",
            {"_class_name": "WuerstchenDecoderPipeline"},
            "mine is a WuerstchenDecoderPipeline, which diffusers has and we do not; choose a",
        ),
        ("unet/config.json", {"in_channels": 9}, "mine draws from 9 channels and its VAE gives 4"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "sample"},
            "mine predicts sample, which is not supported; choose one that predicts the noise",
        ),
        (
            "scheduler/scheduler_config.json",
            {"rescale_betas_zero_snr": True},
            "mine begins at noise alone .* set it to false, or choose a generator of v_prediction",
        ),
        ("vae/config.json", [], "vae/config.json of mine is damaged; fetch it again"),
    ],
)
def test_what_it_is_instead_is_said(folder, config, values, sentence):
    write_json(folder / config, values)
    with pytest.raises(ValueError, match=sentence):
        check_configs(folder, "mine")


def test_a_missing_part_is_named(folder):
    (folder / "tokenizer").rmdir()
    with pytest.raises(ValueError, match="mine is no whole Stable.* has no tokenizer; name"):
        check_configs(folder, "mine")
    (folder / "tokenizer").mkdir()
    (folder / "unet/config.json").unlink()
    with pytest.raises(ValueError, match="it has no unet/config.json; name the folder that holds"):
        check_configs(folder, "mine")


def test_weights_are_whole_or_in_pieces(folder):
    for weights in STABLE_DIFFUSION.weights:
        (folder / weights).touch()
    check_weights(folder, STABLE_DIFFUSION)
    weights = "unet/diffusion_pytorch_model.safetensors"
    (folder / weights).unlink()
    with pytest.raises(ValueError, match="unet has no diffusion_pytorch_model.safetensors, and o"):
        check_weights(folder, STABLE_DIFFUSION)
    index = {"weight_map": {"a": "two.safetensors", "b": "one.safetensors", "c": "one.safetensors"}}
    write_json(folder / f"{weights}.index.json", index)
    assert pieces(folder, weights) == ["unet/one.safetensors", "unet/two.safetensors"]
    (folder / "unet/one.safetensors").touch()
    with pytest.raises(ValueError, match=r"unet has no two\.safetensors, and other weights"):
        check_weights(folder, STABLE_DIFFUSION)
    write_json(folder / f"{weights}.index.json", {})
    with pytest.raises(ValueError, match="index.json of .* is damaged; fetch it again"):
        pieces(folder, weights)
