"""Few-step models beside diffusers' own pipelines, in the folders that they are published as."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusion.tiny_sdxl import SCHEDULE, write_sdxl
from peft import LoraConfig, get_peft_model_state_dict

from synthbridge.diffusion.families.stable_diffusion import embed_scale
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import image_seed
from synthbridge.diffusion.sampling import denoise, encode_prompts, sample_images
from synthbridge.diffusion.schedule import make_steps
from synthbridge.upstream.on_top import merge

PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of a cat"]
SEEDS = [image_seed(0, 0, index) for index in range(len(PROMPTS))]
TRAILING = {**SCHEDULE, "timestep_spacing": "trailing"}


def draw(folder: Path, num_steps: int, guidance_scale: float) -> torch.Tensor:
    """Return latents by the sampler that the family recommends."""
    generator = load_generator(folder)
    condition = encode_prompts(generator, ["", *PROMPTS])
    steps = make_steps(generator.samplers[0], num_steps, generator.scheduler_config)
    assert len(steps) == num_steps
    index = torch.arange(1, len(PROMPTS) + 1)
    return denoise(generator, condition, index, SEEDS, steps=steps, guidance_scale=guidance_scale)


def reference(pipeline: Any, num_steps: int, guidance_scale: float) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPTS,
        num_inference_steps=num_steps,
        guidance_scale=guidance_scale,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
    ).images


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("kind", [EulerAncestralDiscreteScheduler, EulerDiscreteScheduler])
def test_turbo_and_lightning_of_sdxl(kind: Any, num_steps: int, tmp_path: Path):
    """SDXL-Turbo's folder names the ancestral scheduler, what SDXL-Lightning becomes the other."""
    folder = write_sdxl(tmp_path / "model", scheduler=kind.from_config(TRAILING))
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    assert isinstance(pipeline.scheduler, kind)
    expected = reference(pipeline, num_steps, guidance_scale=0.0)
    torch.testing.assert_close(draw(folder, num_steps, 1.0), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("num_steps", [1, 4])
def test_sd_turbo(num_steps: int, folder: Path, tmp_path: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing"
    )
    pipeline.save_pretrained(tmp_path)
    expected = reference(pipeline, num_steps, guidance_scale=0.0)
    torch.testing.assert_close(draw(tmp_path, num_steps, 1.0), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("num_steps", "scale"), [(4, 8.5), (2, 1.0), (8, 5.0)])
def test_lcm_with_an_embedded_scale(num_steps: int, scale: float, folder: Path, tmp_path: Path):
    """LCM_Dreamshaper_v7: a folder of LatentConsistencyModelPipeline."""
    own = StableDiffusionPipeline.from_pretrained(folder)
    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_config({**own.unet.config, "time_cond_proj_dim": 32})
    pipeline = LatentConsistencyModelPipeline(
        vae=own.vae,
        text_encoder=own.text_encoder,
        tokenizer=own.tokenizer,
        unet=unet,
        scheduler=LCMScheduler.from_config(own.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(tmp_path)
    expected = reference(pipeline, num_steps, scale)
    torch.testing.assert_close(draw(tmp_path, num_steps, scale), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("embeds", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.8])
def test_lcm_of_sdxl(embeds: bool, scale: float, tmp_path: Path):
    """lcm-sdxl is told the scale; LCM-LoRA, fused, is not and takes a little guidance."""
    unet = {"time_cond_proj_dim": 32} if embeds else {}
    folder = write_sdxl(tmp_path / "model", unet=unet, scheduler=LCMScheduler.from_config(SCHEDULE))
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    expected = reference(pipeline, 4, scale)
    torch.testing.assert_close(draw(folder, 4, scale), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1.8])
def test_lcm_lora_fused_on_stable_diffusion(scale: float, folder: Path, tmp_path: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    learned = UNet2DConditionModel.from_pretrained(folder / "unet")
    torch.manual_seed(3)
    layers = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "proj_in"]
    learned.add_adapter(
        LoraConfig(r=2, lora_alpha=1, target_modules=layers, init_lora_weights=False)
    )
    name = "pytorch_lora_weights.safetensors"
    StableDiffusionPipeline.save_lora_weights(
        tmp_path / "weights", unet_lora_layers=get_peft_model_state_dict(learned)
    )
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    plain = reference(pipeline, 4, scale)
    pipeline.load_lora_weights(tmp_path / "weights", weight_name=name)
    pipeline.fuse_lora()
    expected = reference(pipeline, 4, scale)
    assert (expected - plain).abs().max() > 0.01
    (tmp_path / "merged").mkdir()
    merge(folder, tmp_path / "weights", name, "lcm", tmp_path / "merged")
    whole = shutil.copytree(folder, tmp_path / "whole")
    shutil.copytree(tmp_path / "merged", whole, dirs_exist_ok=True)
    torch.testing.assert_close(draw(whole, 4, scale), expected, atol=1e-4, rtol=1e-4)


def test_the_scale_is_embedded_as_diffusers_does():
    for width in (32, 7, 256):
        told = torch.tensor([7.5 - 1])
        expected = StableDiffusionXLPipeline.get_guidance_scale_embedding(
            None,  # pyright: ignore[reportArgumentType]
            told,
            embedding_dim=width,
        )
        torch.testing.assert_close(embed_scale(7.5, width), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sampler": "ddpm"}, r"generate.sampler is ddpm, which this generator \(Stable Diffusion"),
        ({"num_steps": 50}, r"num_steps is 50, and this generator .*Turbo\) draws in 1 to 8"),
        ({"guidance_scale": 3.5}, r"is made to draw without guidance; set it to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path):
    scheduler = EulerAncestralDiscreteScheduler.from_config(TRAILING)
    generator = load_generator(write_sdxl(tmp_path / "model", scheduler=scheduler))
    settings = {"sampler": "euler_ancestral", "num_steps": 4, "guidance_scale": 1.0, **changes}
    with pytest.raises(ValueError, match=sentence):
        next(iter(sample_images(generator, PROMPTS, SEEDS, batch_size=4, **settings)))
