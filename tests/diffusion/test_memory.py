"""How many images are done at once, and parts that take turns on a GPU that cannot hold all."""

import pytest
import torch

from synthbridge.diffusion import generator as generators
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.memory import at_once, decoding_bytes, free_bytes
from synthbridge.diffusion.sampling import encode_prompts


def test_as_many_images_at_once_as_fit_or_fewer(monkeypatch):
    assert [at_once(16 * 512**2, size) for size in (16, 512, 1024, 4096)] == [16384, 16, 4, 1]
    monkeypatch.setenv("SYNTHBRIDGE_IMAGES_AT_ONCE", "3")
    assert [at_once(16 * 512**2, size) for size in (16, 512, 1024, 4096)] == [3, 3, 3, 1]


@pytest.mark.parametrize("told", ["0", "-1", "many", ""])
def test_the_environment_is_refused_where_it_says_no_number(monkeypatch, told):
    monkeypatch.setenv("SYNTHBRIDGE_IMAGES_AT_ONCE", told)
    with pytest.raises(ValueError, match=f"is '{told}'; give a whole number above 0"):
        at_once(1, 1)


def test_a_machine_says_what_is_free():
    free = free_bytes(torch.device("cpu"))
    assert free is None or free > 100_000_000


def test_parts_take_turns_on_a_gpu_that_cannot_hold_all(folder, monkeypatch):
    """Without a GPU every device is the CPU: what is moved where is written down instead."""
    model = load_generator(folder)
    gpu, moves = torch.device("cuda"), []
    names = {id(each): "text" for each in model.text_encoders}
    names |= {id(model.denoiser): "denoiser", id(model.vae): "vae"}

    def move(models, device=None, dtype=None):
        if device is not None:
            moves.append((*(names[id(each)] for each in models), torch.device(device).type))

    monkeypatch.setattr(generators, "_move", move)
    monkeypatch.setattr(generators, "fastest_dtype", lambda _: torch.float32)
    weights = sum(
        value.nbytes
        for part in (*model.text_encoders, model.denoiser, model.vae)
        for value in part.state_dict().values()
    )
    decoding = 16384 * decoding_bytes(model.vae.config, model.image_size, torch.float32)
    for free, draws_only, takes_turns in (
        (1.1 * (weights + decoding), True, False),
        (weights + decoding, True, True),
        (weights + decoding, False, False),  # learning needs all of them at each step
    ):
        monkeypatch.setattr(generators, "free_bytes", lambda _, free=free: free)
        assert model.to_fastest(gpu, draws_only=draws_only).takes_turns is takes_turns
    assert moves[:2] == [("denoiser", "vae", "cuda"), ("text", "cuda")]
    assert moves[2:4] == [("denoiser", "vae", "cuda"), ("text", "cpu")]
    expected, moves[:] = encode_prompts(model, ["", "a cat"]), []
    model.takes_turns = True
    assert torch.equal(encode_prompts(model, ["", "a cat"]).sequence, expected.sequence)
    there_and_back = ("denoiser", "vae", "cpu"), ("text", "cpu")
    assert moves == [*there_and_back, ("text", "cpu"), ("denoiser", "vae", "cpu")]
    assert not model._is_encoding
