"""What is taken of a flow-matching generator's repository is enough to draw with it."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from tiny_flow import SAVED

from synthbridge.diffusion.loading import load_generator
from synthbridge.upstream.layouts import GENERATOR


@pytest.mark.parametrize("name", ["sd3", "schnell", "klein", "z-image-turbo"])
def test_what_is_taken_draws(name: str, tmp_path: Path):
    served, taken = SAVED[name](tmp_path), tmp_path / "taken"
    if name == "sd3":
        cut(served / "transformer")
    for extra in ("README.md", "sd3.5_medium.safetensors", "transformer/model.fp16.safetensors"):
        (served / extra).write_text("not for us")
    for config in GENERATOR.configs:
        take(served, taken, config)
    weights = GENERATOR.check(taken, "mine")
    assert not list(taken.rglob("*.safetensors"))
    for file in weights:
        take(served, taken, file)
    ours, expected = load_generator(taken), load_generator(served)
    tokens = ours.tokenize(["a photo of a cat"])
    assert torch.equal(ours.encode(tokens).sequence, expected.encode(tokens).sequence)
    x = torch.randn(1, *ours.latent_shape)
    condition, time = ours.encode(tokens), torch.tensor(500.0)
    flows = [model.predict(x, time, condition, 1.0) for model in (ours, expected)]
    assert torch.equal(*flows)
    assert torch.equal(ours.decode_latents(x), expected.decode_latents(x))


def cut(folder: Path) -> None:
    """Save a model again, in pieces with an index beside them, as a variant has them too."""
    model = SD3Transformer2DModel.from_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    model.save_pretrained(folder, max_shard_size="100KB", variant="fp16")


def take(served: Path, taken: Path, file: str) -> None:
    if (served / file).is_file():
        (taken / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(served / file, taken / file)
