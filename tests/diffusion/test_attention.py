"""Cross-attention from shared prompts: the UNet's own output and gradient, for less work."""

import torch

from synthbridge.diffusion.attention import attend_to_prompts
from synthbridge.diffusion.loading import TextToImage


def test_output_and_gradient_of_the_unets_own_attention(generator: TextToImage):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, 4, 4, generator=draws)
    text = torch.randn(3, 24, 32, generator=draws)
    index = torch.tensor([0, 2, 2, 1, 0])
    timesteps = torch.tensor([3, 400, 999, 10, 10])
    own, shared = text.clone().requires_grad_(), text.clone().requires_grad_()

    expected = generator.unet(x, timesteps, own[index], return_dict=False)[0]
    expected.square().sum().backward()
    with attend_to_prompts(generator.unet, shared, index):
        ours = generator.unet(x, timesteps, shared, return_dict=False)[0]
    ours.square().sum().backward()

    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert own.grad is not None and own.grad.abs().max() > 1e-3
    torch.testing.assert_close(shared.grad, own.grad, atol=1e-5, rtol=1e-4)
