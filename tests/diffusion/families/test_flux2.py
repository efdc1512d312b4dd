"""FLUX.2 klein: the latents and images of diffusers' own pipeline, distilled and base."""

import pytest
import torch
from diffusers import Flux2KleinPipeline
from flow_reference import Pair, load_pair, of_vae
from tiny_flow import save_flux2
from torch.nn.functional import pixel_shuffle

from synthbridge.diffusion.families.flux2 import _empirical_mu
from synthbridge.diffusion.sampling import check_sampling


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Pair]:
    """The distilled one and its base."""
    return {
        is_distilled: load_pair(
            save_flux2(tmp_path_factory.mktemp("klein"), is_distilled=is_distilled),
            Flux2KleinPipeline,
            left=of_vae,
        )
        for is_distilled in (True, False)
    }


@pytest.mark.parametrize("num_steps", [1, 4])
def test_the_distilled_one_draws_as_diffusers(pairs: dict[bool, Pair], num_steps: int):
    pairs[True].assert_same(num_steps, scale=1.0)


@pytest.mark.parametrize(("num_steps", "scale"), [(3, 1.0), (3, 4.0), (7, 4.0)])
def test_the_base_draws_as_diffusers(pairs: dict[bool, Pair], num_steps: int, scale: float):
    pairs[False].assert_same(num_steps, scale)


def test_only_the_base_is_guided(pairs: dict[bool, Pair]):
    check_sampling(pairs[False].ours, "euler", 50, 4.0)
    with pytest.raises(
        ValueError, match=r"this generator \(FLUX.2-klein\) is made to draw without"
    ):
        check_sampling(pairs[True].ours, "euler", 4, 4.0)
    with pytest.raises(ValueError, match="1 to 8 steps"):
        check_sampling(pairs[True].ours, "euler", 50, 1.0)


@pytest.mark.parametrize(("num_tokens", "num_steps"), [(4, 4), (1024, 50), (4096, 4), (4400, 50)])
def test_the_shift_is_diffusers(num_tokens: int, num_steps: int):
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    expected = compute_empirical_mu(num_tokens, num_steps)
    assert _empirical_mu(num_tokens, num_steps) == pytest.approx(expected, rel=1e-12)


def test_images_are_encoded_as_diffusers_encodes_them(pairs: dict[bool, Pair]):
    pair = pairs[True]
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = pair.ours.encode_images(pixels)
    expected = pair.theirs._encode_vae_image(pixels, None)  # the mean, patched and normalised
    assert (mean - expected).abs().max() < 1e-5
    posterior = pair.theirs.vae.encode(pixels).latent_dist
    assert (pixel_shuffle(std * pair.ours.std, 2) - posterior.std).abs().max() < 1e-5
    decoded = pair.ours.decode_latents(mean)
    assert (decoded - pair.theirs.vae.decode(posterior.mean).sample).abs().max() < 1e-4
