"""Loading: by class, safetensors only, and a sentence where a folder is not what it should be."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from synthbridge.diffusion.loading import load_text_to_image


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def test_same_weights_as_diffusers_frozen(folder: Path):
    ours, theirs = load_text_to_image(folder), StableDiffusionPipeline.from_pretrained(folder)
    for name in ("text_encoder", "unet", "vae"):
        expected = getattr(theirs, name).state_dict()
        model = getattr(ours, name)
        assert not model.training and not any(p.requires_grad for p in model.parameters())
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    prompt = "a photo of a sea lion"
    assert ours.tokenizer(prompt).input_ids == theirs.tokenizer(prompt).input_ids


def test_to_moves_all_models(folder: Path):
    generator = load_text_to_image(folder).to("cpu", torch.bfloat16)
    models = (generator.text_encoder, generator.unet, generator.vae)
    assert {model.dtype for model in models} == {torch.bfloat16}


def test_sizes(folder: Path):
    generator = load_text_to_image(folder)
    assert generator.image_size == 16 and generator.pixels_per_latent == 4
    assert generator.to_fastest("cpu").unet.dtype == torch.float32


def test_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is no folder; name a Stable Diffusion folder"):
        load_text_to_image(tmp_path / "nowhere")


def test_missing_part_is_refused(copy: Path):
    shutil.rmtree(copy / "vae")
    with pytest.raises(ValueError, match="it has no vae; name the folder that holds"):
        load_text_to_image(copy)


def test_pickled_weights_are_refused(copy: Path):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"unet has no .*safetensors.*can run code when read"):
        load_text_to_image(copy)


def test_other_prediction_is_refused(copy: Path):
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"v_prediction"'))
    with pytest.raises(ValueError, match="predicts v_prediction, not the noise"):
        load_text_to_image(copy)


def test_damaged_weights_are_refused(copy: Path):
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"is damaged \(.*\); fetch it again"):
        load_text_to_image(copy)
