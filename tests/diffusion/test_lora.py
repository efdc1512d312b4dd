"""LoRA: diffusers and peft read our file and draw the same, and the weights come back unchanged."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.lora import (
    Change,
    attention_projections,
    beside,
    fused,
    load_lora,
    save_lora,
    start_lora,
)
from synthbridge.diffusion.prompts import image_seed
from synthbridge.diffusion.sampling import denoise, draw_noise, encode_prompts
from synthbridge.diffusion.schedule import make_steps

CPU = torch.device("cpu")
PROMPTS = ["a photo of a cat", "a photo of a dog"]
SEEDS = [image_seed(0, 0, index) for index in range(2)]


def random_lora(denoiser: torch.nn.Module) -> dict[str, Change]:
    """Return changes that are large enough to be seen."""
    draws = torch.Generator().manual_seed(0)
    return {
        name: Change(change.down, torch.randn(change.up.shape, generator=draws) * 0.5)
        for name, change in start_lora(denoiser, rank=3, seed=1).items()
    }


def draw(generator: StableDiffusion) -> torch.Tensor:
    """Return latents (2, 4, 4, 4) of the two prompts, guided."""
    condition = encode_prompts(generator, ["", *PROMPTS])
    steps = make_steps("dpm++", 4, generator.scheduler_config)
    index = torch.tensor([1, 2])
    return denoise(generator, condition, index, SEEDS, steps=steps, guidance_scale=3.0)


def test_attention_alone_is_changed(generator: StableDiffusion):
    names = attention_projections(generator.denoiser)
    assert len(names) == 4 * 2 * 4  # q, k, v, out; self- and cross-attention; four blocks
    assert {name.split(".attn")[1][0] for name in names} == {"1", "2"}
    lora = start_lora(generator.denoiser, rank=3, seed=0)
    assert list(lora) == list(names)
    for name, change in lora.items():
        assert change.down.shape == (3, names[name].in_features)
        assert change.up.shape == (names[name].out_features, 3) and not change.up.any()


def test_a_new_lora_changes_nothing_and_beside_and_fused_agree(generator: StableDiffusion):
    plain = draw(generator)
    denoiser = generator.denoiser
    with fused(denoiser, start_lora(denoiser, rank=3, seed=0)):
        assert torch.equal(draw(generator), plain)
    lora = random_lora(denoiser)
    with fused(denoiser, lora):
        in_weights = draw(generator)
    halved = {name: Change(change.down, change.up / 2) for name, change in lora.items()}
    with beside(denoiser, halved, scale=2.0), torch.no_grad():
        torch.testing.assert_close(draw(generator), in_weights, atol=1e-5, rtol=1e-5)
    assert (in_weights - plain).abs().max() > 0.01
    assert torch.equal(draw(generator), plain)  # all is as it was


def test_weights_come_back_bit_for_bit_after_an_error(generator: StableDiffusion):
    before = {name: value.clone() for name, value in generator.denoiser.state_dict().items()}
    with (
        pytest.raises(KeyboardInterrupt),
        fused(generator.denoiser, random_lora(generator.denoiser)),
    ):
        raise KeyboardInterrupt
    after = generator.denoiser.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_diffusers_draws_the_same_with_our_file(
    generator: StableDiffusion, folder: Path, tmp_path: Path
):
    from diffusers import DPMSolverMultistepScheduler

    lora = random_lora(generator.denoiser)
    save_lora(tmp_path / "lora.safetensors", generator.denoiser, lora)
    with fused(generator.denoiser, load_lora(tmp_path / "lora.safetensors", generator.denoiser)):
        ours = draw(generator)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    noise = draw_noise([torch.Generator().manual_seed(seed) for seed in SEEDS], (4, 4, 4), CPU)
    theirs = pipeline(
        PROMPTS,
        num_inference_steps=4,
        guidance_scale=3.0,
        latents=noise,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_peft_reads_our_file_into_the_layers_that_it_would_make_itself(
    generator: StableDiffusion, folder: Path, tmp_path: Path
):
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    save_lora(tmp_path / "lora.safetensors", generator.denoiser, random_lora(generator.denoiser))
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=3, lora_alpha=3, target_modules=targets))
    theirs = {f"unet.{name}" for name in get_peft_model_state_dict(unet)}
    assert theirs == set(load_file(tmp_path / "lora.safetensors"))


def _saved(generator: StableDiffusion, path: Path) -> dict[str, torch.Tensor]:
    save_lora(path, generator.denoiser, random_lora(generator.denoiser))
    return load_file(path)


def test_a_lora_of_another_generator_is_refused(generator: StableDiffusion, tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    tensors = _saved(generator, path)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    save_file({**tensors, name: torch.zeros(3, 7)}, path)
    with pytest.raises(ValueError, match=r"of another generator \(unet.* takes 7 to \d+ numbers"):
        load_lora(path, generator.denoiser)
    save_file({**tensors, "unet.other.lora_A.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"it changes unet.other.lora_A.weight too"):
        load_lora(path, generator.denoiser)
    del tensors[name]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"it lacks unet\..*; learn it with this one"):
        load_lora(path, generator.denoiser)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is no LoRA .*; run 'dvc repro' for it"):
        load_lora(path, generator.denoiser)
