"""What a repository's configurations must say, before its weights are asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthbridge.upstream.backbone import make_backbone, save_backbone
from synthbridge.upstream.layouts import check_backbone, check_clip


def test_the_miniatures_are_what_they_are(clip_folder: Path, tmp_path: Path):
    save_backbone(make_backbone("test_resnet", 24, 6), tmp_path)
    check_backbone(tmp_path, "backbone")
    check_clip(clip_folder, "clip")
    with pytest.raises(ValueError, match="clip is a clip, no timm model; choose one of timm's"):
        check_backbone(clip_folder, "clip")
    with pytest.raises(ValueError, match="is a model of another library; choose a CLIP in"):
        check_clip(tmp_path, "backbone")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"architecture": "resnet_of_mine"}, "a/b is a resnet_of_mine, which timm .* not have"),
        ({"architecture": "resnet18"}, "does not say the mean and deviation of its pixels"),
        ({"model_type": "vit"}, "a/b is a vit, no timm model"),
        (None, "a/b has no config.json"),
    ],
)
def test_other_backbones_are_refused(config: Any, sentence: str, tmp_path: Path):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        check_backbone(tmp_path, "a/b")


def test_a_clip_without_a_tokenizer_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ValueError, match="a/b has no tokenizer; choose a CLIP that has one"):
        check_clip(tmp_path, "a/b")
