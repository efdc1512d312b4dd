from synthbridge.data.synthetic import PlannedShard, StartImages
from synthbridge.diffusion.settings import SamplingSettings
from synthbridge.stages.generate import Block, plan_images

PARAMS = SamplingSettings(
    sampler="dpm++",
    num_steps=2,
    guided_share=1.0,
    jpeg_quality=90,
    images_per_block=4,
    classes_per_shard=2,
    seed=0,
)


def _images(subset="all", start=0, stop=4, prompts="template", words=(), starts=None):
    plan = {
        "class_names": ["cat", "dog"],
        "prompts": prompts,
        "start": start,
        "stop": stop,
        "styles": {subset: None},
    }
    shard = PlannedShard(subset, 0, (0, 1), start, stop)
    return plan_images(PARAMS, Block(plan, ""), shard, words, starts)


def test_every_image_has_its_own_seed_and_it_stays_with_its_index():
    images = _images()
    assert len({image.seed for image in images}) == 8
    later = [image for image in _images(start=2, stop=6) if image.index < 4]
    assert later == [image for image in images if image.index >= 2]


def test_subsets_draw_other_noise():
    seeds = [{image.seed for image in _images(subset)} for subset in ("all", "s0", "s1")]
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2]


def test_prompts_name_the_class_and_the_style():
    for image in _images(prompts="dsi", words=["<style>"]):
        name = ("cat", "dog")[image.label]
        assert image.prompt == f"A {name} photo in the style of <style>"
    assert all(("cat", "dog")[image.label] in image.prompt for image in _images())
    assert len({image.prompt.replace("dog", "cat") for image in _images(stop=40)}) > 10


def test_each_class_has_its_own_learned_word():
    images = _images(prompts="class_tokens", words=["<style-0000>", "<style-0001>"])
    assert {(image.label, image.prompt) for image in images} == {
        (0, "A <style-0000> photo"),
        (1, "A <style-0001> photo"),
    }


def test_the_shots_of_a_class_take_turns():
    starts = StartImages({}, {0: ["a", "b", "c"], 1: ["d"]})
    images = _images(start=2, stop=6, starts=starts)
    assert [image.start for image in images] == ["c", "a", "b", "c", "d", "d", "d", "d"]
    assert {image.start for image in _images()} == {None}
