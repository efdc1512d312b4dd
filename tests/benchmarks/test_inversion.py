from dataclasses import replace

import counting
import inversion
import measure
import numpy as np
import pytest
import torch
from architectures import write_generator
from inversion import FULL, RATE, TRIAL, Recipe
from small_families import SMALL

from synthbridge.diffusion.generator import Generator


def test_a_step_of_the_recipe_moves_the_style_token_alone_by_the_rate(world):
    """AdamW's first step is the rate times the gradient's sign, after the weights' decay."""
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    recipe = Recipe(world.generator, TRIAL, images, [0, 1], ("cat", "dog"))
    check_step(recipe)


def test_of_two_vocabularies_both_tokens_move(tmp_path):
    write_generator(tmp_path, SMALL["sdxl"]())
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    recipe = Recipe(tmp_path, TRIAL, images, [0, 1], ("cat", "dog"))
    assert len(recipe.tables) == 2
    check_step(recipe)


def check_step(recipe):
    before = [table.detach().clone() for table in recipe.tables]
    recipe.run()
    for table, old, new in zip(recipe.tables, before, recipe.new, strict=True):
        others = torch.arange(len(table)) != new
        assert torch.equal(table[others], old[others])
        moved = old[new] * (1 - RATE * 1e-2) - table[new]
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, RATE), rtol=1e-2, atol=0)


def test_ratios_are_those_of_the_arms_seconds(world, monkeypatch):
    seconds = {"ours": 2.0, "compiled": 1.25, "recipe": 5.0, "product": 0.5}

    def take_turns(arms, **_):
        arms["ours"]()
        arms["recipe"]()
        return {name: seconds[name] for name in arms}

    monkeypatch.setattr(measure, "take_turns", take_turns)
    scale = replace(FULL, num_steps=2, batch=2, product=TRIAL.product)
    operations = {(2, 2, 2, "sd-1.5"): TRIAL.product.operations}  # images, steps, batch
    monkeypatch.setattr(counting, "operations_of_inversion", lambda *job: operations[job])
    rows = inversion.measure_all(scale, world, 1)
    assert rows["D1"]["ratio"] == 2.5 and rows["D1"]["wanted"] == 1.5
    assert rows["D1c"]["ratio"] == 4.0 and rows["D1c"]["wanted"] == 2.0
    assert rows["D2"]["ratio"] == pytest.approx(0.25) and rows["D2"]["wanted"] == 0.4
    assert rows["D1"]["milliseconds_per_step"] == {"ours": 1000, "compiled": 625, "recipe": 2500}


def test_the_miniature_has_no_limit(world, monkeypatch):
    monkeypatch.setattr(measure, "take_turns", lambda arms, **_: dict.fromkeys(arms, 1.0))
    assert inversion.measure_all(replace(TRIAL, product=None), world, 1).keys() == {"D1", "D1c"}


def test_all_arms_run_in_bfloat16(world, bfloat16, monkeypatch):
    # Compiling is slow, and has a test in diffusion/test_loading.py.
    monkeypatch.setattr(Generator, "compiled", lambda self: self)
    rows = inversion.measure_all(replace(TRIAL, num_steps=2, batch=2), world, 1)
    times = rows["D1"]["milliseconds_per_step"]
    assert rows["D1"]["ratio"] == pytest.approx(times["recipe"] / times["ours"], rel=1e-2)
    assert rows["D2"]["matrix_tera_per_second"] > 0
