"""SDXL beside diffusers' StableDiffusionXLPipeline, on the same tiny weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from diffusion.tiny_sdxl import WIDTHS, change, write_sdxl

from synthbridge.diffusion.families.sdxl import StableDiffusionXL
from synthbridge.diffusion.image_guidance import guide_by
from synthbridge.diffusion.inversion import Lesson, initial_vector, invert_style
from synthbridge.diffusion.latents import ClassBalance, cache_latents, draw_batch
from synthbridge.diffusion.loading import load_generator, load_reader
from synthbridge.diffusion.prompts import image_seed, style_prompt
from synthbridge.diffusion.sampling import denoise, encode_prompts, sample_images
from synthbridge.diffusion.schedule import make_steps
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import put_words, save_words

PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of a cat", "a photo of my sea lion"]
SEEDS = [image_seed(0, 0, index) for index in range(len(PROMPTS))]
NAMES = ("cat", "style", "sea lion")  # one is the initial word itself
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2] * 4)
SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=8,
    batch_size=6,
    learning_rate=0.05,
    samples_per_class=1,
    seed=5,
)


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("sdxl") / "model")


@pytest.fixture
def sdxl(sdxl_folder: Path) -> StableDiffusionXL:
    generator = load_generator(sdxl_folder)
    assert isinstance(generator, StableDiffusionXL)
    return generator


def load_pipeline(folder: Path) -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(
    generator: Any, prompts=PROMPTS, *, sampler: Any = "dpm++", num_steps=6, guidance_scale=5.0
) -> torch.Tensor:
    """Return latents of `prompts`."""
    condition = encode_prompts(generator, ["", *prompts])
    steps = make_steps(sampler, num_steps, generator.scheduler_config)
    return denoise(
        generator,
        condition,
        torch.arange(1, len(prompts) + 1),
        SEEDS[: len(prompts)],
        steps=steps,
        guidance_scale=guidance_scale,
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("sampler", "scheduler", "num_steps"),
    [
        ("ddpm", DDPMScheduler, 12),
        ("dpm++", DPMSolverMultistepScheduler, 7),
        ("euler", EulerDiscreteScheduler, 7),  # its own, with `leading` spacing
    ],
)
@pytest.mark.parametrize("zeros", [True, False])
def test_latents_of_diffusers_pipeline(
    sampler: Any,
    scheduler: Any,
    num_steps: int,
    guidance_scale: float,
    zeros: bool,
    sdxl_folder: Path,
    tmp_path: Path,
):
    folder = sdxl_folder
    if not zeros:
        folder = write_sdxl(tmp_path / "model", force_zeros_for_empty_prompt=False)
    pipeline = load_pipeline(folder)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    arguments = {
        "prompt": PROMPTS,
        "num_inference_steps": num_steps,
        "guidance_scale": guidance_scale,
    }
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    expected = pipeline(**arguments, generator=noise, output_type="latent").images
    generator = load_generator(folder)
    assert generator.empty_is_zeros == zeros and generator.image_size == 16
    ours = draw(generator, sampler=sampler, num_steps=num_steps, guidance_scale=guidance_scale)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    pixels = pipeline(**arguments, generator=noise, output_type="np").images
    images = sample_images(
        generator,
        PROMPTS,
        SEEDS,
        sampler=sampler,
        num_steps=num_steps,
        guidance_scale=guidance_scale,
        batch_size=4,
    )
    # The latents agree to 1e-4: a byte may round the other way, and no more.
    assert np.abs(np.concatenate(list(images)).astype(float) - pixels * 255).max() < 0.55


@pytest.mark.parametrize("strength", [0.35, 0.5, 1.0])
@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("ddpm", DDPMScheduler), ("euler", EulerDiscreteScheduler)]
)
def test_starts_from_images_as_diffusers(
    sampler: Any, scheduler: Any, strength: float, sdxl: StableDiffusionXL, sdxl_folder: Path
):
    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(sdxl_folder, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    own = IMAGES[: len(PROMPTS)]
    expected = pipeline(
        PROMPTS,
        image=torch.from_numpy(own).permute(0, 3, 1, 2).float() / 255,
        strength=strength,
        num_inference_steps=8,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="latent",
    ).images
    start = guide_by(sdxl, list("0123"), lambda key: own[int(key)], strength).start(slice(4))
    ours = denoise(
        sdxl,
        encode_prompts(sdxl, ["", *PROMPTS]),
        torch.arange(1, len(PROMPTS) + 1),
        SEEDS,
        steps=make_steps(sampler, 8, sdxl.scheduler_config, strength),
        guidance_scale=5.0,
        start=start,
    )
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_the_two_encoders_pad_differently(sdxl: StableDiffusionXL, sdxl_folder: Path):
    first, second = sdxl.tokenize(["a photo"])
    assert first[0, -1] != second[0, -1]
    read = load_reader(sdxl_folder)(["a photo"])
    assert torch.equal(read[0], first) and torch.equal(read[1], second)


def test_the_size_comes_from_the_configuration_and_the_unet_is_told(sdxl_folder: Path):
    sdxl = load_generator(sdxl_folder)
    sdxl.denoiser.register_to_config(sample_size=128)
    parts = (sdxl.denoiser, sdxl.vae, sdxl.scheduler_config)
    tokenizers = tuple(vocabulary.tokenizer for vocabulary in sdxl.vocabularies)
    assert len(tokenizers) == 2 == len(sdxl.text_encoders)
    large = StableDiffusionXL(tokenizers, sdxl.text_encoders, *parts, empty_is_zeros=True)
    assert large.image_size == 512  # this VAE halves twice
    assert large.time_ids.tolist() == [512, 512, 0, 0, 512, 512]


def invert_naively(generator: StableDiffusionXL, folder: Path) -> tuple[torch.Tensor, list[float]]:
    """Train a row of both tables as the usual script does: the whole batch through all."""
    pipeline = load_pipeline(folder)
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
    tables, frozen, token_ids = [], [], []
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        assert tokenizer.add_tokens(["<style>"]) == 1
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        encoder.config.eos_token_id = tokenizer.eos_token_id
        table = encoder.get_input_embeddings().weight
        token_ids.append(tokenizer.convert_tokens_to_ids("<style>"))
        with torch.no_grad():
            table[token_ids[-1]] = table[tokenizer.convert_tokens_to_ids("style</w>")]
        tables.append(table)
        frozen.append(table.detach().clone())
    # Where the end of a text is, as it should be: see the family's `_pool`.
    pipeline.text_encoder_2.text_model.eos_token_id = pipeline.tokenizer_2.eos_token_id
    schedule = DDPMScheduler.from_config(generator.scheduler_config)
    optimizer = torch.optim.AdamW(tables, lr=SETTINGS.learning_rate, weight_decay=0)
    cache = cache_latents(generator, IMAGES, flip=True)
    losses = []
    for step in range(SETTINGS.num_steps):
        batch = draw_batch(
            cache=cache,
            balance=ClassBalance(LABELS, NAMES),
            batch_size=SETTINGS.batch_size,
            num_timesteps=1000,
            seed=SETTINGS.seed,
            step=step,
        )
        prompts = [style_prompt(NAMES[index], "<style>") for index in batch.classes]
        text, _, pooled, _ = pipeline.encode_prompt(prompts, do_classifier_free_guidance=False)
        time_ids = torch.tensor([[16.0, 16, 0, 0, 16, 16]]).expand(len(prompts), -1)
        noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
        predicted = pipeline.unet(
            noisy,
            batch.timesteps,
            text,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids},
        ).sample
        loss = (predicted - batch.noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for table, before, token_id in zip(tables, frozen, token_ids, strict=True):
                others = torch.arange(len(table)) != token_id
                table[others] = before[others]
        losses.append(loss.item())
    rows = [table[i].detach() for table, i in zip(tables, token_ids, strict=True)]
    return torch.cat(rows), losses


def test_steps_of_a_naive_reference(sdxl: StableDiffusionXL, sdxl_folder: Path):
    ours = invert_style(sdxl, SETTINGS, Lesson(IMAGES, LABELS, NAMES, flip=True))
    vector, losses = invert_naively(sdxl, sdxl_folder)
    assert ours.vectors.shape == (1, sum(WIDTHS))
    assert ours.losses == pytest.approx(losses, abs=1e-5)
    moved = (vector - initial_vector(sdxl, "style")).abs().split(WIDTHS)
    assert all(part.median() > 0.05 for part in moved)  # in both encoders
    # Its first steps are lr x sign(gradient), which blows up what rounding does to small gradients.
    torch.testing.assert_close(ours.vectors[0], vector, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tells_its_end", [True, False])
def test_diffusers_draws_the_same_image_with_our_token(tells_its_end: bool, tmp_path: Path):
    """Two files, two calls. SDXL's second encoder must be told where a text ends."""
    folder = write_sdxl(tmp_path / "model")
    end = load_pipeline(folder).tokenizer_2.eos_token_id
    if tells_its_end:
        change(folder, "text_encoder_2/config.json", eos_token_id=end)
    word = torch.randn(sum(WIDTHS), generator=torch.Generator().manual_seed(3))
    save_words(tmp_path / "style.safetensors", {"<style>": word}, WIDTHS)
    pipeline = load_pipeline(folder)
    pipeline.load_textual_inversion(
        str(tmp_path / "style.safetensors"),
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
    )
    pipeline.load_textual_inversion(
        str(tmp_path / "style_2.safetensors"),
        text_encoder=pipeline.text_encoder_2,
        tokenizer=pipeline.tokenizer_2,
    )
    if not tells_its_end:  # docs/generators.md
        pipeline.text_encoder_2.text_model.eos_token_id = end
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    prompts = [style_prompt(name, "<style>") for name in ("cat", "dog")]
    expected = pipeline(
        prompts,
        num_inference_steps=6,
        guidance_scale=5.0,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS[:2]],
    ).images
    generator = load_generator(folder)
    put_words(generator, {"<style>": word})
    torch.testing.assert_close(draw(generator, prompts), expected, atol=1e-4, rtol=1e-4)
    put_words(generator, {"<style>": -word})
    assert (draw(generator, prompts) - expected).abs().max() > 0.01


def test_a_word_of_another_family_is_refused(sdxl: StableDiffusionXL):
    with pytest.raises(ValueError, match=r"this generator's words have 32 \+ 24 numbers; learn it"):
        put_words(sdxl, {"<style>": torch.zeros(32)})


def test_the_vae_overflows_in_float16_and_not_in_bfloat16(sdxl: StableDiffusionXL):
    """As SDXL's own does: its inner values pass 65,504."""
    with torch.no_grad():
        block = sdxl.vae.decoder.up_blocks[0].resnets[0]
        for parameter in block.conv2.parameters():
            parameter.mul_(1e6)
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    largest: list[float] = []
    block.register_forward_hook(lambda *call: largest.append(call[-1].abs().max().item()))
    exact = sdxl.decode_latents(latents)
    assert largest[0] > 65_504 and exact.isfinite().all()
    rough = sdxl.to("cpu", torch.bfloat16).decode_latents(latents)
    assert rough.isfinite().all() and (rough - exact).abs().mean() < 0.1 * exact.std()
    sdxl.vae.half()
    assert not sdxl.decode_latents(latents).isfinite().all()
    means, _ = sdxl.to("cpu", torch.float32).encode_images(torch.zeros(1, 3, 16, 16))
    assert means.dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "changes", "sentence"),
    [
        ("unet/config.json", {"addition_embed_type": None}, "takes nothing beside its prompts"),
        ("unet/config.json", {"in_channels": 9}, "draws from 9 channels and its VAE gives 4"),
        (
            "unet/config.json",
            {"projection_class_embeddings_input_dim": 56},
            r"does not fit its second text encoder and six sizes \(56 numbers, not 64\)",
        ),
        ("vae/config.json", {"latents_mean": [0.0]}, "shifts its latents"),
        (
            "model_index.json",
            {"_class_name": "StableDiffusionXLInpaintPipeline"},
            "is a StableDiffusionXLInpaintPipeline, which diffusers has and we do not; choose",
        ),
    ],
)
def test_other_models_are_refused(
    config: str, changes: dict[str, Any], sentence: str, tmp_path: Path
):
    folder = write_sdxl(tmp_path / "model")
    change(folder, config, **changes)
    with pytest.raises(ValueError, match=sentence):
        load_generator(folder)


def test_a_folder_without_its_second_encoder_is_refused(tmp_path: Path):
    folder = write_sdxl(tmp_path / "model")
    (folder / "text_encoder_2" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no whole StableDiffusionXLPipeline .* text_encoder_2"):
        load_generator(folder)
