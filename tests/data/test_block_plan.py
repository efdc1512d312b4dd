"""Plans of blocks: read as they were written, and empty ones say nothing else."""

import pytest

from synthbridge.core.files import read_json
from synthbridge.data.block_plan import BlockPlan, read_block_plan, write_block_plan

VALUES = {
    "start": 2,
    "stop": 6,
    "class_names": ["cat", "dog"],
    "guidance_scale": 3.5,
    "styles": {"s0": "f00", "s1": None},
    "prompts": {"all": [["a cat", "my cat"], ["a dog"]]},
}
BY_SUBSET = {"s0": [["a big cat"], ["a dog"]], "s1": [["a small cat"], ["a dog"]]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prompts": BY_SUBSET},
        {"image_strength": 0.5, "starts": {"s0": "bee", "s1": "cab"}},
        {"image_strength": 0.5, "starts": {"s0": "bee", "s1": "cab"}, "mix_gamma": 0.8},
        {"tuned": "class"},
    ],
)
def test_a_plan_is_read_as_it_was_written(tmp_path, changes):
    plan = BlockPlan(**{**VALUES, **changes})
    write_block_plan(tmp_path / "b0.json", plan)
    assert read_block_plan(tmp_path / "b0.json") == plan


def test_an_empty_block_is_the_same_file_whatever_the_set(tmp_path):
    write_block_plan(tmp_path / "b0.json", None)
    assert read_json(tmp_path / "b0.json") == {"start": 0, "stop": 0}
    assert read_block_plan(tmp_path / "b0.json") is None


def test_a_file_of_shared_prompts_lists_them_once(tmp_path):
    write_block_plan(tmp_path / "b0.json", BlockPlan(**VALUES))
    values = read_json(tmp_path / "b0.json")
    assert values == {**VALUES, "prompts": VALUES["prompts"]["all"]}
    write_block_plan(tmp_path / "b1.json", BlockPlan(**{**VALUES, "prompts": BY_SUBSET}))
    values = read_json(tmp_path / "b1.json")
    assert "prompts" not in values and values["prompts_by_subset"] == BY_SUBSET


def test_images_and_candidates_are_of_all_subsets():
    shared, own = (BlockPlan(**{**VALUES, "prompts": p}) for p in (VALUES["prompts"], BY_SUBSET))
    assert shared.num_images() == 2 * 2 * 4
    assert shared.candidates("s0", 0) == shared.candidates("s1", 0) == ["a cat", "my cat"]
    assert [own.candidates(subset, 0) for subset in ("s0", "s1")] == [
        ["a big cat"],
        ["a small cat"],
    ]
