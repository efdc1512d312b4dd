"""What holds for every flow-matching family: its steps, its readers, its precision, its pieces."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    Flux2KleinPipeline,
    FluxPipeline,
    ModelMixin,
    StableDiffusion3Pipeline,
    ZImagePipeline,
)
from flow_reference import PROMPTS, SEEDS
from tiny_flow import SAVED

from synthbridge.diffusion.families.flow_matching import pack, unpack
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.loading import load_generator, load_reader
from synthbridge.diffusion.lora import Change, fused, save_lora, start_lora
from synthbridge.diffusion.sampling import encode_prompts, sample_images
from synthbridge.diffusion.schedule import flow_steps
from synthbridge.diffusion.style_token import require_words


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    saved: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in saved:
            saved[name] = SAVED[name](tmp_path_factory.mktemp(name))
        return saved[name]

    return folder


@pytest.fixture(scope="module", params=SAVED)
def folder(request: pytest.FixtureRequest, folders: Callable[[str], Path]) -> Path:
    return folders(request.param)


@pytest.fixture
def generator(folder: Path) -> Generator:
    return load_generator(folder)


def draw(generator: Generator, prompts=PROMPTS, seeds=SEEDS, **changes: Any) -> np.ndarray:
    scale = 1.0 if generator.guidance == "none" else 3.5
    setting: dict[str, Any] = {"sampler": "euler", "num_steps": 4, "guidance_scale": scale}
    batches = sample_images(generator, prompts, seeds, **{**setting, "batch_size": 4, **changes})
    return np.concatenate(list(batches)).astype(int)


def test_an_image_depends_on_its_prompt_and_its_seed_alone(generator: Generator):
    together = draw(generator)
    assert (draw(generator) == together).all()
    alone = draw(generator, PROMPTS[1:], SEEDS[1:])
    turned = draw(generator, PROMPTS[::-1], SEEDS[::-1])
    assert np.abs(alone[0] - together[1]).max() <= 1
    assert np.abs(turned[::-1] - together).max() <= 1
    assert (draw(generator, ["a dog"], SEEDS[1:])[0] != together[1]).any()
    assert np.abs(draw(generator, PROMPTS[1:], SEEDS[:1])[0] - together[1]).max() > 1


def test_bfloat16_draws_nearly_the_same(generator: Generator):
    exact = draw(generator)
    generator.to("cpu", torch.bfloat16)
    condition = encode_prompts(generator, PROMPTS)
    assert condition.sequence.dtype == torch.bfloat16
    rough = draw(generator)
    assert np.abs(rough - exact).mean() < 4
    generator.to("cpu", torch.float32)  # the VAE's own statistics are not rounded on the way
    assert generator.dtype == torch.float32


def test_the_reader_reads_as_the_generator(folder: Path, generator: Generator):
    read, expected = load_reader(folder)(PROMPTS), generator.tokenize(PROMPTS)
    assert all(torch.equal(a, b) for a, b in zip(read, expected, strict=True))
    with pytest.raises(ValueError, match=r"tokens, and the generator reads \d+; shorten it"):
        load_reader(folder)(["cat " * 600])


def test_no_word_can_be_learned(generator: Generator):
    with pytest.raises(ValueError, match=generator.name):
        require_words(generator)


def test_adapters_fit_and_nothing_else_moves(generator: Generator):
    assert isinstance(generator.denoiser, ModelMixin) and hasattr(generator.denoiser, "add_adapter")
    models = (*generator.text_encoders, generator.denoiser, generator.vae)
    assert not any(
        p.requires_grad or not torch.isfinite(p).all() for m in models for p in m.parameters()
    )
    assert not any(model.training for model in models)


PIPELINES = {
    "sd3": StableDiffusion3Pipeline,
    "schnell": FluxPipeline,
    "klein-base": Flux2KleinPipeline,
    "z-image": ZImagePipeline,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_lora_of_ours_is_diffusers(name: str, folders: Callable[[str], Path], tmp_path: Path):
    generator = load_generator(folders(name))
    draws = torch.Generator().manual_seed(0)
    lora = {
        projection: Change(change.down, torch.randn(change.up.shape, generator=draws) * 0.3)
        for projection, change in start_lora(generator.denoiser, rank=2, seed=0).items()
    }
    save_lora(tmp_path / "lora.safetensors", generator.denoiser, lora)
    pipeline = PIPELINES[name].from_pretrained(folders(name))
    pipeline.load_lora_weights(tmp_path / "lora.safetensors")
    condition = encode_prompts(generator, PROMPTS)
    x = torch.randn(2, *generator.latent_shape, generator=draws)

    def predict() -> torch.Tensor:
        with torch.no_grad():
            return generator.predict(x, torch.tensor(500.0), condition, 1.0)

    plain = predict()
    with fused(generator.denoiser, lora):
        ours = predict()
    generator.denoiser = pipeline.transformer
    assert (predict() - ours).abs().max() < 1e-4 < 0.1 < (ours - plain).abs().max()


def test_the_flow_has_a_gradient_for_each_image(generator: Generator):
    """What tuning needs: timesteps (B,), and a prediction whose rows do not mix."""
    condition = encode_prompts(generator, PROMPTS)
    x = torch.randn(2, *generator.latent_shape, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([900.0, 100.0])
    x.requires_grad_()
    flow = generator.predict(x, times, condition, 1.0)
    assert flow.shape == x.shape and flow.dtype == torch.float32
    (gradient,) = torch.autograd.grad(flow[0].sum(), x)
    assert gradient[0].abs().sum() > 0 and not gradient[1].any()
    with torch.no_grad():
        alone = generator.predict(x[1:], times[1], condition.rows(torch.tensor([1])), 1.0)
    assert (alone - flow[1:]).abs().max() < 1e-4


def test_weights_in_pieces_are_the_same_weights(folder: Path, generator: Generator, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "pieces")
    for part, model in (
        ("transformer", generator.denoiser),
        (f"text_encoder{_last_end(folder)}", generator.text_encoders[-1]),
    ):
        (whole,) = (copy / part).glob("*.safetensors")
        half = whole.stat().st_size // 2
        whole.unlink()
        model.save_pretrained(copy / part, max_shard_size=half)
        assert len(list((copy / part).glob("*.safetensors"))) > 1
    other = load_generator(copy)
    assert (draw(other) == draw(generator)).all()
    min((copy / "transformer").glob("*.safetensors")).unlink()
    with pytest.raises(ValueError, match="transformer has no diffusion_pytorch_model-00001-of"):
        load_generator(copy)


def _last_end(folder: Path) -> str:
    return max(path.name for path in folder.glob("text_encoder*")).removeprefix("text_encoder")


def test_steps_go_from_noise_to_the_image(generator: Generator):
    steps = generator.steps("euler", 4)
    assert steps[0].sigma == 1 and steps[0].alpha == 0
    assert steps[-1].keep == 0 and steps[-1].clean == 1
    assert all(step.timestep == pytest.approx(1000 * step.sigma, rel=1e-6) for step in steps)
    assert generator.steps("euler", 4, image_strength=0.5) == steps[2:]
    with pytest.raises(ValueError, match="leaves none"):
        generator.steps("euler", 4, image_strength=0.2)


def test_euler_goes_down_the_straight_line_without_error():
    x_0, eps = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double()
    x = eps
    for step in flow_steps([1.0, 0.7, 0.2, 0.0], [1000.0, 700.0, 200.0]):
        assert torch.allclose(x, step.alpha * x_0 + step.sigma * eps)
        x = step.keep * x + step.clean * (x - step.sigma * (eps - x_0))
    assert torch.allclose(x, x_0)


def test_latents_are_packed_as_diffusers_packs_them():
    from diffusers import FluxPipeline

    latents = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    expected = FluxPipeline._pack_latents(latents, 2, 3, 4, 4)
    assert torch.equal(pack(latents), expected)
    assert torch.equal(unpack(expected, 4), latents)
