import counting
import pytest
import torch
from torch import nn

# 2 x multiply-accumulate, of the released architectures, by hand.
STABLE_DIFFUSION = {
    "unet": 0.803e12,
    "unet_before_text": 0.0408e12,
    "unet_and_gradient": 1.669e12,
    "encode": 1.117e12,
    "decode": 2.515e12,
    "text": 0.0133e12,
}


def test_operations_of_stable_diffusion():
    found = counting.operations_of_stable_diffusion()
    assert found == pytest.approx(STABLE_DIFFUSION, rel=0.02)


def test_operations_of_inversion():
    """Two images encoded, 20 steps at batch 4, the loss read before them and ten times after."""
    expected = 2 * 1.117e12 + 4 * (20 * 1.669e12 + 11 * 0.803e12)
    assert counting.operations_of_inversion(2, 20, 4) == pytest.approx(expected, rel=0.02)


def test_operations_of_a_training_image():
    """Forward as timm's table of results has it (4.09 G multiply-accumulates), three times.

    But the first layer's input, which needs no gradient.
    """
    stem = 2 * 3 * 7 * 7 * 64 * 112 * 112
    expected = 3 * 2 * 4.09e9 - stem
    assert counting.operations_of_a_training_image("resnet50") == pytest.approx(expected, rel=0.02)


def test_live_bytes_are_those_of_what_still_lives():
    with counting.LiveBytes() as live:
        first = torch.zeros(1000)  # 4 kB
        view = first[:10]
        second = first + 1
        assert live.live == live.peak == 8000
        del first
        assert live.live == 8000  # the view keeps it
        del view, second
        assert live.live == 0 and live.peak == 8000


def test_live_bytes_hold_what_a_gradient_needs():
    layers = nn.Sequential(*(nn.Sigmoid() for _ in range(5)))  # each keeps its output
    x = torch.zeros(1000, requires_grad=True)
    with counting.LiveBytes() as live:
        loss = layers(x).sum()
        assert live.live == 5 * 4000 + 4
        loss.backward()
    with counting.LiveBytes() as live, torch.no_grad():
        layers(x)
    assert live.peak == 2 * 4000


def test_inversion_and_generation_fit_in_12_gb_in_bfloat16():
    with counting.fake_generator(torch.bfloat16) as generator:
        assert counting.memory_of_inversion(generator, 8) < 9e9
        assert counting.memory_of_encoding(generator, 16) < 8e9
        assert counting.memory_of_denoising(generator, 32) < 7.5e9
        assert counting.memory_of_decoding(generator, 32) < 9e9
