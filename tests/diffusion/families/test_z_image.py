"""Z-Image: the latents and images of diffusers' own pipelines, Turbo and base."""

from pathlib import Path

import pytest
from diffusers import ZImageImg2ImgPipeline, ZImagePipeline
from flow_reference import Pair, load_pair
from tiny_flow import save_z_image

from synthbridge.diffusion.sampling import check_sampling


def above_one(scale: float) -> float:
    """Return our w of w f(c) + (1 - w) f as the pipeline has it: f(c) + s (f(c) - f)."""
    return scale - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_z_image(tmp_path_factory.mktemp("turbo"))


@pytest.fixture(scope="module")
def turbo(folder: Path) -> Pair:
    return load_pair(folder, ZImagePipeline, scale=above_one)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = save_z_image(tmp_path_factory.mktemp("base"), shift=6.0, use_dynamic_shifting=True)
    return load_pair(folder, ZImagePipeline, scale=above_one)


@pytest.mark.parametrize("num_steps", [1, 8])
def test_turbo_draws_as_diffusers(turbo: Pair, num_steps: int):
    turbo.assert_same(num_steps, scale=1.0)


@pytest.mark.parametrize(("num_steps", "scale"), [(3, 1.0), (3, 5.0), (7, 5.0)])
def test_the_base_draws_as_diffusers(base: Pair, num_steps: int, scale: float):
    base.assert_same(num_steps, scale)


def test_starts_from_images_as_diffusers(folder: Path):
    pair = load_pair(folder, ZImageImg2ImgPipeline, scale=above_one)
    pair.assert_same_from_images(num_steps=8, strength=0.5, scale=1.0)


def test_only_the_base_is_guided(turbo: Pair, base: Pair):
    check_sampling(base.ours, "euler", 50, 5.0)
    with pytest.raises(
        ValueError, match=r"this generator \(Z-Image-Turbo\) is made to draw without"
    ):
        check_sampling(turbo.ours, "euler", 8, 5.0)
    with pytest.raises(ValueError, match="1 to 16 steps"):
        check_sampling(turbo.ours, "euler", 50, 1.0)
