import pytest

from synthbridge.core.files import write_json
from synthbridge.data.stable_diffusion import PARTS, PIPELINE, check_configs

SCHEDULE = {"beta_start": 0.00085, "prediction_type": "epsilon"}


@pytest.fixture
def folder(tmp_path):
    for part in PARTS:
        (tmp_path / part).mkdir()
    write_json(tmp_path / "model_index.json", {"_class_name": PIPELINE})
    write_json(tmp_path / "scheduler/scheduler_config.json", SCHEDULE)
    write_json(tmp_path / "text_encoder/config.json", {})
    write_json(tmp_path / "unet/config.json", {"in_channels": 4})
    write_json(tmp_path / "vae/config.json", {"latent_channels": 4})
    return tmp_path


def test_stable_diffusion_passes_and_gives_its_schedule(folder):
    assert check_configs(folder, "mine") == SCHEDULE


@pytest.mark.parametrize(
    ("config", "values", "sentence"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "mine is a FluxPipeline, which is n"),
        ("unet/config.json", {"in_channels": 9}, "mine draws from 9 channels and its VAE gives 4"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "v_prediction"},
            "mine predicts v_prediction, not the noise",
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
    with pytest.raises(ValueError, match="mine is no Stable Diffusion folder .* has no tokenizer;"):
        check_configs(folder, "mine")
    (folder / "tokenizer").mkdir()
    (folder / "unet/config.json").unlink()
    with pytest.raises(ValueError, match="it has no unet/config.json; name the folder that holds"):
        check_configs(folder, "mine")
