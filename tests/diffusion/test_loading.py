"""Loading: by class, safetensors only, and a sentence where a folder is not what it should be."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusion.conftest import write_stable_diffusion
from machine import needs_compiler

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.inversion import initial_vector, style_objective
from synthbridge.diffusion.latents import Draw
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.sampling import sample_images


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def test_same_weights_as_diffusers_frozen(folder: Path):
    ours, theirs = load_generator(folder), StableDiffusionPipeline.from_pretrained(folder)
    assert isinstance(ours, StableDiffusion)
    models = {"text_encoder": ours.text_encoders[0], "unet": ours.denoiser, "vae": ours.vae}
    for name, model in models.items():
        expected = getattr(theirs, name).state_dict()
        assert not model.training and not any(p.requires_grad for p in model.parameters())
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    prompt = "a photo of a sea lion"
    assert ours.vocabularies[0].tokenizer(prompt).input_ids == theirs.tokenizer(prompt).input_ids


def test_to_moves_all_models(folder: Path):
    generator = load_generator(folder).to("cpu", torch.bfloat16)
    models = (generator.text_encoders[0], generator.denoiser, generator.vae)
    assert {model.dtype for model in models} == {torch.bfloat16}


def test_sizes(folder: Path):
    generator = load_generator(folder)
    assert generator.image_size == 16 and generator.latent_shape == (4, 4, 4)
    assert generator.to_fastest("cpu").dtype == torch.float32


def test_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is no folder; name a generator's folder"):
        load_generator(tmp_path / "nowhere")


def test_missing_part_is_refused(copy: Path):
    shutil.rmtree(copy / "vae")
    with pytest.raises(ValueError, match="it has no vae; name the folder that holds"):
        load_generator(copy)


def test_pickled_weights_are_refused(copy: Path):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"unet has no .*safetensors.*can run code when read"):
        load_generator(copy)


def test_other_prediction_is_refused(copy: Path):
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"sample"'))
    with pytest.raises(ValueError, match="predicts sample, which is not supported; choose one"):
        load_generator(copy)


def test_an_unknown_family_is_refused(copy: Path):
    index = copy / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "PixArtSigmaPipeline"))
    with pytest.raises(ValueError, match="a PixArt.* diffusers has and we do not; choose a"):
        load_generator(copy)


def test_weights_in_pieces_are_read(copy: Path, folder: Path):
    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="100KB")
    pieces = sorted((copy / "unet").glob("*-of-*.safetensors"))
    assert len(pieces) > 1
    ours, whole = load_generator(copy).denoiser, load_generator(folder).denoiser
    for name, weights in whole.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weights)
    pieces[1].unlink()
    with pytest.raises(ValueError, match=f"has no {pieces[1].name}, and other weights can run"):
        load_generator(copy)


def test_damaged_weights_are_refused(copy: Path):
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"is damaged \(.*\); fetch it again"):
        load_generator(copy)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusion, StableDiffusion]:
    """A generator, and the same weights compiled: seconds for each block and each shape."""
    of_unet = {
        "block_out_channels": (16,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "mid_block_type": None,
    }
    folder = write_stable_diffusion(tmp_path_factory.mktemp("small") / "generator", **of_unet)
    generator = load_generator(folder)
    assert isinstance(generator, StableDiffusion)
    return generator, generator.compiled()


def draw(generator: StableDiffusion, *prompts: str) -> np.ndarray:
    batches = sample_images(
        generator,
        prompts,
        range(len(prompts)),
        sampler="dpm++",
        num_steps=5,
        guidance_scale=3.5,
        batch_size=4,
    )
    return np.concatenate(list(batches)).astype(int)


@needs_compiler
def test_a_compiled_generator_draws_the_same_images(pair: tuple[StableDiffusion, StableDiffusion]):
    plain, compiled = pair
    prompts = ("a cat", "a dog", "a cat", "a sea lion")
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError):
        draw(compiled, *prompts)  # nothing is compiled yet
    drawn = draw(compiled, *prompts)
    assert np.abs(drawn - draw(plain, *prompts)).max() <= 1
    with torch.compiler.set_stance("fail_on_recompile"):
        assert (draw(compiled, *prompts) == drawn).all()
        draw(compiled, *["a cat"] * 4)  # fewer distinct prompts are no other shape


@needs_compiler
def test_a_compiled_generator_has_the_same_gradient(pair: tuple[StableDiffusion, StableDiffusion]):
    latents, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    batch = Draw(torch.tensor([0, 1, 1]), latents, noise, torch.tensor([5, 500, 990]))
    gradients = []
    for generator in pair:
        vector = initial_vector(generator, "style").requires_grad_()
        style_objective(generator, ("cat", "dog"), "style").loss([vector], batch).backward()
        gradients.append(vector.grad)
    assert gradients[0].abs().max() > 1e-4
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


def test_without_a_compiler_nothing_is_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match="compile is true, but there is no C\\+\\+ compiler here"):
        load_generator(folder).compiled()


def test_of_a_transformer_the_repeated_blocks_are_compiled_and_share_their_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **how: compiled.append(module))
    plain = load_generator(folder)
    monkeypatch.setattr(StableDiffusion, "repeated_blocks", ("ResnetBlock2D",))
    fast = plain.compiled()
    assert {type(module).__name__ for module in compiled} == {"ResnetBlock2D"}
    assert not {id(module) for module in plain.denoiser.modules()} & {id(m) for m in compiled}
    for own, same in zip(plain.denoiser.parameters(), fast.denoiser.parameters(), strict=True):
        assert own is same
