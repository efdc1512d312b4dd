import hashlib

import pytest

from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.files import read_json, write_json
from synthbridge.stages.plan import check_volume, plan


def _plan(tmp_path, **changes):
    write_json(
        tmp_path / "real/dataset.json",
        {"class_names": ["a", "b"], "image_size": 16, "flip": False, "counts": {}},
    )
    write_json(tmp_path / "real/few_shot.json", [])
    write_json(tmp_path / "style/index.json", {"all": None})
    (tmp_path / "style/all.tar").write_bytes(b"shots")
    settings = {"prompts": "template", "shots": None, "guidance_scale": 3.5, "images_per_class": 4}
    blocks = [tmp_path / f"b{number}.json" for number in range(3)]
    plan(
        SyntheticSettings(**{**settings, **changes}),
        images_per_block=2,
        real=tmp_path / "real",
        style=tmp_path / "style",
        blocks=blocks,
    )
    return [read_json(block) for block in blocks]


def test_blocks_are_ranges_and_empty_ones_say_nothing_else(tmp_path):
    first, second, third = _plan(tmp_path)
    assert [first["start"], first["stop"]] == [0, 2]
    assert [second["start"], second["stop"]] == [2, 4]
    assert third == {"start": 0, "stop": 0}
    assert first["class_names"] == ["a", "b"] and first["styles"] == {"all": None}
    assert _plan(tmp_path, guidance_scale=2.0)[2] == third


def test_blocks_name_the_real_images_that_theirs_start_from(tmp_path):
    first, *_ = _plan(tmp_path, shots=1, image_strength=0.5)
    assert first["image_strength"] == 0.5
    assert first["starts"] == {"all": hashlib.sha256(b"shots").hexdigest()}
    assert not {"starts", "image_strength"} & _plan(tmp_path)[0].keys()


def test_a_change_of_volume_leaves_the_blocks_it_shares(tmp_path):
    assert _plan(tmp_path, images_per_class=6)[:2] == _plan(tmp_path)[:2]


def test_volume_above_capacity_or_between_blocks_is_refused():
    check_volume(300, 100, 3)
    with pytest.raises(ValueError, match="images_per_class is 400, but 3 blocks of 100 hold 300"):
        check_volume(400, 100, 3)
    with pytest.raises(ValueError, match="is 150, which is no multiple of.*images_per_block"):
        check_volume(150, 100, 3)
