"""Cached latents: the VAE's own posterior, and draws that are balanced, uniform and repeatable."""

import numpy as np
import pytest
import torch

from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.latents import ClassBalance, LatentCache, cache_latents, draw_batch

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
LABELS = np.array([2] * 15 + [0] * 1 + [1] * 4)
NAMES = ("cat", "dog", "sea lion")


def test_posterior_of_images_and_mirror_images(generator: StableDiffusion):
    cache = cache_latents(generator, IMAGES, flip=True)
    assert cache.mean.shape == cache.std.shape == (2, 20, 4, 4, 4)
    for view, images in enumerate((IMAGES, IMAGES[:, :, ::-1].copy())):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        posterior = generator.vae.encode(pixels).latent_dist
        torch.testing.assert_close(cache.mean[view], posterior.mean * 0.9, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(cache.std[view], posterior.std * 0.9, atol=1e-5, rtol=1e-4)
    assert len(cache_latents(generator, IMAGES, flip=False).mean) == 1


def test_images_of_another_size_are_refused(generator: StableDiffusion):
    with pytest.raises(ValueError, match=r"shape \(8, 16, 3\) and the generator draws \(16, 16, 3"):
        cache_latents(generator, IMAGES[:, :8], flip=False)


def test_classes_and_their_images_are_drawn_equally():
    draws = torch.Generator().manual_seed(0)
    classes, images = ClassBalance(LABELS, NAMES).draw(30_000, draws)
    assert (torch.from_numpy(LABELS)[images] == classes).all()
    per_class, per_image = classes.bincount(), images.bincount()
    assert (per_class - 10_000).abs().max() < 400  # 4 sigma
    assert (per_image[:15] - 10_000 / 15).abs().max() < 110
    assert (per_image[16:] - 2_500).abs().max() < 200


def test_a_class_without_images_is_refused():
    with pytest.raises(ValueError, match="class 'eel' has no real image"):
        ClassBalance(LABELS, (*NAMES, "eel"))


def test_draws_follow_the_posterior_and_can_be_redrawn():
    mean = torch.arange(20.0)[None, :, None, None, None].expand(1, 20, 4, 4, 4)
    cache = LatentCache(mean, torch.full_like(mean, 0.1))
    balance = ClassBalance(LABELS, NAMES)

    def draw(step: int):
        return draw_batch(
            cache=cache, balance=balance, batch_size=512, num_timesteps=1000, seed=3, step=step
        )

    batch, again = draw(7), draw(7)
    for one, other in zip(vars(batch).values(), vars(again).values(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(batch.noise, draw(8).noise)
    image = batch.latents.mean((1, 2, 3)).round()
    assert (torch.from_numpy(LABELS)[image.long()] == batch.classes).all()
    z = (batch.latents - image[:, None, None, None]) / 0.1
    for normal in (z, batch.noise):
        assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert abs((z * batch.noise).mean()) < 0.03
    assert batch.timesteps.min() < 10 and batch.timesteps.max() > 990
    assert abs(batch.timesteps.float().mean() - 499.5) < 52
