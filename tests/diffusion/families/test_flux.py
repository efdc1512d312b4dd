"""FLUX.1: the latents and images of diffusers' own pipelines, schnell and dev."""

from pathlib import Path
from typing import Any

import pytest
from diffusers import FluxImg2ImgPipeline, FluxPipeline
from flow_reference import Pair, load_pair, packed, unpacked
from tiny_flow import save_flux

from synthbridge.diffusion.sampling import check_sampling

HOW: dict[str, Any] = {"entering": packed, "leaving": unpacked}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_flux(tmp_path_factory.mktemp("schnell"))


@pytest.fixture(scope="module")
def schnell(folder: Path) -> Pair:
    settings = {"max_sequence_length": 256}
    return load_pair(folder, FluxPipeline, **HOW, scale=lambda _: 0.0, settings=settings)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = save_flux(
        tmp_path_factory.mktemp("dev"), guidance_embeds=True, use_dynamic_shifting=True, shift=3.0
    )
    return load_pair(folder, FluxPipeline, **HOW)


@pytest.mark.parametrize("num_steps", [1, 4])
def test_schnell_draws_as_diffusers(schnell: Pair, num_steps: int):
    schnell.assert_same(num_steps, scale=1.0)


@pytest.mark.parametrize(("num_steps", "scale"), [(3, 1.0), (3, 3.5), (7, 3.5)])
def test_dev_draws_as_diffusers_and_is_told_the_scale(dev: Pair, num_steps: int, scale: float):
    dev.assert_same(num_steps, scale)


def test_starts_from_images_as_diffusers(folder: Path):
    settings = {"max_sequence_length": 256}
    pair = load_pair(folder, FluxImg2ImgPipeline, leaving=unpacked, settings=settings)
    pair.assert_same_from_images(num_steps=4, strength=0.5, scale=1.0)


# Of seven steps: 0.55 leaves 3.85, which we round down and diffusers up.
@pytest.mark.parametrize(("ours", "theirs"), [(0.55, 0.42), (0.58, 0.55)])
def test_a_fraction_of_a_step_is_rounded_down_and_by_diffusers_up(
    folder: Path, ours: float, theirs: float
):
    settings = {"max_sequence_length": 256}
    pair = load_pair(folder, FluxImg2ImgPipeline, leaving=unpacked, settings=settings)
    pair.assert_same_from_images(num_steps=7, strength=ours, scale=1.0, their_strength=theirs)


def test_what_makes_no_sense_for_schnell_is_refused(schnell: Pair, dev: Pair):
    with pytest.raises(ValueError, match=r"guidance_scale is 3.5, and this generator \(FLUX.1-sch"):
        check_sampling(schnell.ours, "euler", 4, 3.5)
    with pytest.raises(ValueError, match="num_steps is 50, and this generator .* 1 to 8 steps"):
        check_sampling(schnell.ours, "euler", 50, 1.0)
    check_sampling(dev.ours, "euler", 50, 3.5)


def test_a_prompt_is_read_whole_by_t5(schnell: Pair, dev: Pair):
    assert [ids.shape[1] for ids in schnell.ours.tokenize(["a cat " * 99])] == [16, 256]
    with pytest.raises(ValueError, match="has 401 tokens, and the generator reads 256"):
        schnell.ours.tokenize(["a cat " * 200])
    assert dev.ours.tokenize(["a cat " * 200])[1].shape[1] == 512
