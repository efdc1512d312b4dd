from dataclasses import replace
from pathlib import Path

import pytest

from synthbridge.data.block_plan import BlockPlan
from synthbridge.data.synthetic import PlannedShard, StartImages
from synthbridge.diffusion.settings import SamplingSettings
from synthbridge.prompts.templates import template_prompts
from synthbridge.stages.generate import Block, _key, plan_images, soft_label

PARAMS = SamplingSettings(
    sampler="dpm++",
    num_steps=2,
    guided_fraction=1.0,
    jpeg_quality=90,
    images_per_block=4,
    classes_per_shard=2,
    seed=0,
)


NAMES = ("cat", "dog")
PROMPTS = [template_prompts(name) for name in NAMES]


def _plan(prompts, subset="all", start=0, stop=4):
    return BlockPlan(
        start=start,
        stop=stop,
        class_names=NAMES,
        guidance_scale=3.5,
        styles={subset: None},
        prompts=prompts,
    )


def _images(subset="all", start=0, stop=4, starts=None, prompts=None):
    plan = _plan(prompts or {"all": PROMPTS}, subset, start, stop)
    shard = PlannedShard(subset, 0, (0, 1), start, stop)
    return plan_images(PARAMS, plan, shard, starts)


def test_every_image_has_its_own_seed_and_it_stays_with_its_index():
    images = _images()
    assert len({image.seed for image in images}) == 8
    later = [image for image in _images(start=2, stop=6) if image.index < 4]
    assert later == [image for image in images if image.index >= 2]


def test_subsets_draw_other_noise():
    seeds = [{image.seed for image in _images(subset)} for subset in ("all", "s0", "s1")]
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2]


def test_each_image_draws_one_of_its_classs_prompts():
    images = _images(stop=40)
    assert all(image.prompt in PROMPTS[image.label] for image in images)
    assert len({image.prompt.replace("dog", "cat") for image in images}) > 10
    one_each = [["A cat in the style of <style>"], ["A dog in the style of <style>"]]
    for image in _images(prompts={"all": one_each}):
        assert image.prompt == one_each[image.label][0]


def test_a_subset_may_have_prompts_of_its_own():
    plans = {"s0": [["crane bird"], ["dog"]], "s1": [["construction crane"], ["dog"]]}
    for subset, first in (("s0", "crane bird"), ("s1", "construction crane")):
        images = _images(subset, prompts=plans)
        assert {image.prompt for image in images} == {first, "dog"}


def test_a_unit_is_keyed_by_the_prompts_of_its_own_classes():
    def key(prompts, labels=(0,)):
        block = Block(
            plan=_plan({"all": prompts}),
            sampling=PARAMS,
            style=Path("style"),
            generator=Path("generator"),
            generator_hash="hash",
        )
        return _key(block, PlannedShard("all", 0, labels, 0, 4))

    assert key([["a cat"], ["a dog"]]) == key([["a cat"], ["my dog"]])
    assert key([["a cat"], ["a dog"]]) != key([["my cat"], ["a dog"]])
    assert key([["a cat"], ["a dog"]], (0, 1)) != key([["a cat"], ["my dog"]], (0, 1))


def test_the_shots_of_a_class_take_turns():
    starts = StartImages({}, {0: ["a", "b", "c"], 1: ["d"]})
    images = _images(start=2, stop=6, starts=starts)
    assert [image.start for image in images] == ["c", "a", "b", "c", "d", "d", "d", "d"]
    assert {image.start for image in _images()} == {None}


def test_images_of_mixed_classes_start_from_the_others_in_turn():
    starts = StartImages({}, {0: ["a", "b"], 1: ["c"], 2: ["d", "e"]})
    plan = replace(
        _plan({"all": [*PROMPTS, ["a bird"]]}), image_strength=0.25, mix_gamma=0.5, stop=4
    )
    shard = PlannedShard("all", 0, (0, 2), 0, 4)
    images = plan_images(PARAMS, plan, shard, starts)
    assert [image.start for image in images] == ["c", "d", "c", "e", "a", "c", "b", "c"]
    assert [image.start_label for image in images] == [1, 2, 1, 2, 0, 1, 0, 1]
    assert soft_label(plan, images[1]) == {"2": 0.5, "0": 0.5}  # 0.25 ** 0.5
    one = StartImages({}, {0: ["a"]})
    with pytest.raises(ValueError, match="mixes two classes, and the data set has one"):
        plan_images(PARAMS, plan, PlannedShard("all", 0, (0,), 0, 4), one)
