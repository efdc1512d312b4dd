from synthbridge.data.shards import encode_png, write_shard
from synthbridge.diffusion.prompts import template_prompts
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.files import read_json, write_json
from synthbridge.stages.candidates import CandidateParams, CandidatePaths
from synthbridge.stages.plan import plan

SETTINGS = {"prompts": "template", "shots": None, "guidance_scale": 3.5, "images_per_class": 4}


def write_real(folder, class_names):
    write_json(
        folder / "dataset.json",
        {"class_names": class_names, "image_size": 16, "flip": False, "counts": {}},
    )
    write_json(folder / "few_shot.json", [])


def run_plan(tmp_path, class_names=("a", "b"), source="folder", **changes):
    """Plan three blocks of two images a class of the data set `birds`."""
    if not (tmp_path / "real").exists():
        write_real(tmp_path / "real", list(class_names))
    if not (tmp_path / "style").exists():
        write_json(tmp_path / "style/index.json", {"all": None})
    (tmp_path / "prompts").mkdir(exist_ok=True)
    blocks = [tmp_path / f"b{number}.json" for number in range(3)]
    folders = (tmp_path / name for name in ("real", "style", "clip", "generator", "prompts"))
    plan(
        CandidateParams(
            dataset="birds",
            source=source,
            synthetic=SyntheticSettings(**{**SETTINGS, **changes}),
            placeholder="<style>",
        ),
        images_per_block=2,
        paths=CandidatePaths(*folders),
        names=tmp_path / "names.json",
        blocks=blocks,
    )
    return [read_json(block) for block in blocks]


def test_blocks_are_ranges_and_empty_ones_say_nothing_else(tmp_path):
    first, second, third = run_plan(tmp_path)
    assert [first["start"], first["stop"]] == [0, 2]
    assert [second["start"], second["stop"]] == [2, 4]
    assert third == {"start": 0, "stop": 0}
    assert first["class_names"] == ["a", "b"] and first["styles"] == {"all": None}
    assert run_plan(tmp_path, guidance_scale=2.0)[2] == third


def test_a_change_of_volume_leaves_the_blocks_it_shares(tmp_path):
    assert run_plan(tmp_path, images_per_class=6)[:2] == run_plan(tmp_path)[:2]


def test_the_papers_prompts_are_the_default(tmp_path):
    block, *_ = run_plan(tmp_path)
    assert block["prompts"] == [template_prompts("a"), template_prompts("b")]
    assert read_json(tmp_path / "names.json") == {}
    block, *_ = run_plan(tmp_path, prompts="dsi", shots="full")
    assert block["prompts"] == [[f"A {name} photo in the style of <style>"] for name in "ab"]


def test_blocks_of_the_same_prompts_differ_in_their_range_alone(tmp_path):
    first, second, _ = run_plan(tmp_path)
    assert {**first, "start": 2, "stop": 4} == second


def encode_grey(level):
    import numpy as np

    return encode_png(np.full((16, 16, 3), level, np.uint8))


def write_train(folder, levels):
    """Write four training images of class 0, of the given grey levels, two shots a seed."""
    write_shard(
        folder / "train-00000.tar",
        (
            {"__key__": f"{i}", "png": encode_grey(level), "cls": 0, "json": {"name": f"i{i}"}}
            for i, level in enumerate(levels)
        ),
    )
    rankings = [[["i0", "i1"], []], [["i2", "i3"], []]]
    write_json(folder / "few_shot.json", rankings)
