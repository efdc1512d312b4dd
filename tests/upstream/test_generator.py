from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from synthbridge.files import hash_folder
from synthbridge.stages import generator as stage
from synthbridge.upstream.clip import scale_pixels
from synthbridge.upstream.generator import (
    encode_captions,
    encode_images,
    make_scheduler,
    make_unet,
    make_vae,
    train_unet,
    train_vae,
)
from synthbridge.upstream.pool import Pool
from synthbridge.upstream.settings import GeneratorSettings, TrainingSettings

SHORT = TrainingSettings(num_steps=3, batch_size=8, learning_rate=2e-3)
SETTINGS = GeneratorSettings(vae=SHORT, unet=SHORT, caption_dropout=0.1, seed=4)


@pytest.fixture(scope="module")
def generator_folder(
    pool_folder: Path, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("generator") / "out"
    stage.generator(SETTINGS, pool=pool_folder, clip=clip_folder, out=out)
    return out


def test_vae_learns_to_repeat_images(pool: Pool):
    settings = TrainingSettings(num_steps=40, batch_size=16, learning_rate=3e-3)
    vae, images = make_vae(0), scale_pixels(pool.images)
    errors = list(train_vae(vae, images, settings, seed=0))
    assert sum(errors[-5:]) < 0.5 * sum(errors[:5])
    assert encode_images(vae, images[:2]).shape == (2, 4, 4, 4)


def test_captions_are_read_as_the_text_tower_reads_them(clip_folder: Path):
    clip = CLIPModel.from_pretrained(clip_folder)
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    captions = ["a photo of a two", "a photo of a one", "a photo of a two"]
    states, rows = encode_captions(clip.text_model, tokenizer, captions)
    assert states.shape == (3, 16, 64) and rows.tolist() == [2, 1, 2]
    for caption, state in (("", states[0]), (captions[0], states[2])):
        tokens = tokenizer(caption, padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            expected = clip.text_model(tokens).last_hidden_state[0]
        assert torch.allclose(state, expected, atol=1e-5)


def test_first_loss_is_the_noise_prediction_error():
    unet, scheduler = make_unet(64, 0), make_scheduler()
    generator = torch.Generator().manual_seed(9)
    latents, states = torch.randn(5, 4, 4, 4), torch.randn(3, 16, 64)
    rows = torch.tensor([1, 2, 1, 2, 1])
    chosen = torch.randint(5, (8,), generator=generator)
    kept = torch.rand(8, generator=generator) >= 0.5
    times = torch.randint(1000, (8,), generator=generator)
    noise = torch.randn(8, 4, 4, 4, generator=generator)
    # Stable Diffusion's schedule: the square roots of the betas rise evenly.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept_signal = torch.cumprod(1 - betas, 0)[times].view(-1, 1, 1, 1)
    noisy = kept_signal.sqrt() * latents[chosen] + (1 - kept_signal).sqrt() * noise
    texts = torch.where(kept.view(-1, 1, 1), states[rows[chosen]], states[0])
    with torch.no_grad():
        expected = F.mse_loss(unet(noisy, times, texts).sample, noise).item()
    steps = train_unet(unet, scheduler, latents, states, rows, SHORT, caption_dropout=0.5, seed=9)
    assert next(steps) == pytest.approx(expected, rel=1e-4)


def test_stage_writes_a_pipeline_that_diffusers_loads_and_draws_with(
    generator_folder: Path, clip_folder: Path
):
    pipeline = StableDiffusionPipeline.from_pretrained(generator_folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a photo of a two", num_inference_steps=2, output_type="np").images
    assert images.shape == (1, 16, 16, 3)
    text = CLIPModel.from_pretrained(clip_folder).text_model.state_dict()
    for name, weight in pipeline.text_encoder.state_dict().items():
        assert torch.equal(weight, text[name.removeprefix("text_model.")]), name
    assert not list(generator_folder.rglob("*.bin"))


def test_scaled_latents_have_unit_variance(generator_folder: Path, pool: Pool):
    pipeline = StableDiffusionPipeline.from_pretrained(generator_folder, safety_checker=None)
    latents = encode_images(pipeline.vae, scale_pixels(pool.images))
    assert (latents * pipeline.vae.config.scaling_factor).std().item() == pytest.approx(1, abs=1e-3)


def test_stage_repeats_itself(
    generator_folder: Path, pool_folder: Path, clip_folder: Path, tmp_path: Path
):
    torch.rand(7)  # the global generator stands elsewhere
    stage.generator(SETTINGS, pool=pool_folder, clip=clip_folder, out=tmp_path / "again")
    assert hash_folder(tmp_path / "again") == hash_folder(generator_folder)
