import tarfile
from dataclasses import replace

import generation
import measure
import numpy as np
import pytest
import torch
from architectures import write_generator
from generation_scale import FULL, MINIATURE, TRIAL, of_family
from machine import needs_compiler
from PIL import Image
from released import FAMILIES
from small_families import SMALL

from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.sampling import decode

SCALE = replace(
    TRIAL,
    num_images=5,
    num_compared=2,
    batch=2,
    batch_of_the_script=3,
    num_steps=4,
    fast_steps=5,
    full_steps=6,
)


@pytest.fixture
def job(world):
    model = load_generator(world.generator)
    return generation.Job(SCALE, model, generation.load_pipeline(world.generator))


def test_latents_are_those_of_the_pipeline_or_are_refused(job):
    assert 0 < job.compare() < 1e-4
    with torch.no_grad():
        job.pipeline.unet.conv_out.bias += 0.01
    with pytest.raises(AssertionError, match="differ from diffusers'"):
        job.compare()


def test_every_way_draws_every_image_from_the_same_seed(job, tmp_path):
    images = np.concatenate(job.draw())
    job.write_tar(tmp_path)
    job.run_the_usual_script(tmp_path)
    numbers = [f"{index:06d}" for index in range(SCALE.num_images)]
    for name, ending in (("ours/shard", ".jpg"), ("usual", ".png")):
        with tarfile.open(tmp_path / f"{name}.tar") as tar:
            members = [member for member in tar.getnames() if member.endswith(ending)]
            assert members == [number + ending for number in numbers]
    with tarfile.open(tmp_path / "usual.tar") as tar:
        for index, number in enumerate(numbers):
            usual = np.asarray(read_png(tar, f"{number}.png")).astype(int)
            assert np.abs(usual - images[index]).max() <= 1  # a rounding


def read_png(tar, name):
    file = tar.extractfile(name)
    assert file is not None
    return Image.open(file)


def test_ratios_are_those_of_the_arms_seconds(world, monkeypatch):
    seconds = {
        "ours": 2.0,
        "compiled": 1.5,
        "otherwise": 2.4,
        "pipeline": 3.0,
        "tar": 2.5,
        "usual": 5.0,
        "fast": 1.0,
        "full": 4.0,
        "product": 0.5,
        "beside": 0.8,
        "after": 1.0,
    }
    monkeypatch.setattr(
        measure, "take_turns", lambda arms, **_: {name: seconds[name] for name in arms}
    )
    monkeypatch.setattr(
        generation.Job, "compile", lambda _, otherwise=False: 30.0 if otherwise else 40.0
    )
    monkeypatch.setattr(generation.Job, "compare_compiled", lambda _: {})
    monkeypatch.setattr(generation.Job, "count_operations", lambda _: SCALE.product.operations)
    rows = generation.measure_all(replace(SCALE, wanted=FULL.wanted), world.generator, 1)
    expected = {"G1": 1.5, "G1c": 2.0, "G1b": 1.25, "G2": 0.25, "G3": 2.0, "G4": 0.8, "G5": 4.0}
    assert {name: row["ratio"] for name, row in rows.items()} == pytest.approx(
        expected | {"G6": 1.25}
    )
    assert rows["G1c"]["compiled"] == {
        "seconds_to_compile_compiled": 38.5,
        "seconds_to_compile_otherwise": 27.6,
    }
    assert rows["G5"]["wanted"] == 2.9 and rows["G6"]["wanted"] is None


def test_decoding_beside_the_next_batch_draws_the_same_images(job, monkeypatch):
    drawn = {}
    for beside in (True, False):
        images = drawn.setdefault(beside, [])

        def keep(model, latents, images=images):
            images.append(decode(model, latents))
            return images[-1]

        monkeypatch.setattr(generation, "decode", keep)
        job.draw_few(beside=beside)
    assert [len(batch) for batch in drawn[True]] == [2, 2, 1]
    for ours, theirs in zip(drawn[True], drawn[False], strict=True):
        assert torch.equal(ours, theirs)


def test_the_other_way_to_compile_is_by_blocks_or_as_a_whole(job):
    blocks = job.model.denoiser._repeated_blocks
    assert job.compiled_otherwise.repeated_blocks == tuple(blocks)
    job.model.repeated_blocks = tuple(blocks)
    del job.compiled_otherwise
    assert job.compiled_otherwise.repeated_blocks == ()


@pytest.mark.parametrize("name", SMALL)
def test_the_small_families_draw_as_their_pipelines_do(name, tmp_path):
    family = SMALL[name]()
    scale = replace(of_family(SCALE, family), num_steps=3)
    assert not any(scale.wanted.values())
    write_generator(tmp_path / "generator", family)
    model = load_generator(tmp_path / "generator")
    job = generation.Job(scale, model, generation.load_pipeline(tmp_path / "generator"))
    assert 0 < job.compare() < 1e-3
    job.check()
    job.write_tar(tmp_path)
    job.run_the_usual_script(tmp_path)
    assert job.has_fast == (name == "sdxl")


def test_a_family_is_drawn_as_it_is_released():
    small = of_family(MINIATURE, SMALL["sdxl"]())
    assert (small.num_images, small.batch, small.num_steps) == (40, 20, 15)
    released = of_family(FULL, FAMILIES["flux.1-schnell"])
    assert (released.num_images, released.batch, released.num_steps) == (16, 8, 4)


@needs_compiler
def test_all_arms_run_in_bfloat16(world, bfloat16, monkeypatch):
    # Compiling once is slow enough.
    monkeypatch.setattr(generation.Job, "compiled_otherwise", property(lambda job: job.model))
    rows = generation.measure_all(SCALE, world.generator, 1)
    rates = rows["G1"]["images_per_second"]
    assert rows["G1"]["ratio"] == pytest.approx(rates["ours"] / rates["pipeline"], rel=1e-3)
    assert rows["G2"]["ratio"] == pytest.approx(rates["ours"] / rates["limit"], rel=1e-3)
    assert rows["G1"]["largest_latent_difference"] < 1e-4  # compared in float32 before
    assert 0 < rows["G1c"]["compiled"]["fraction_that_differs"] < 0.5
