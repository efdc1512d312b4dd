"""A backbone that is given: its name in timm, or a file with what it was trained with."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from synthbridge.core.files import hash_file, hash_folder
from synthbridge.core.settings import check_settings
from synthbridge.upstream.given_backbone import check_model, hub_repository, store_file
from synthbridge.upstream.settings import BackboneFile


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_efficientnet", num_classes=7, pad_type="same").eval()


def make_settings(path: Path, **changes: Any) -> BackboneFile:
    values = {
        "file": str(path),
        "sha256": hash_file(path) if path.is_file() else "0" * 64,
        "model": "test_efficientnet",
        "model_args": {"pad_type": "same"},
        "num_classes": 7,
        "input_size": 64,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.1, 0.2, 0.3],
    }
    return check_settings(BackboneFile, {**values, **changes}, "upstream.backbone")


@pytest.fixture
def file(model: torch.nn.Module, tmp_path: Path) -> Path:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_the_folder_is_the_model_as_it_was_trained(model: torch.nn.Module, file: Path):
    place = store_file(make_settings(file))
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "model.safetensors"]
    loaded = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
    images = torch.randn(2, 3, 63, 63)  # an odd side, where the padding differs
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    known = loaded.pretrained_cfg
    assert known["input_size"] == (3, 64, 64) and known["num_classes"] == 7
    assert list(known["mean"]) == [0.4, 0.5, 0.6] and list(known["std"]) == [0.1, 0.2, 0.3]
    assert str(file.parent) not in (place / "config.json").read_text()


def test_it_is_stored_once_and_the_file_may_go(file: Path):
    settings = make_settings(file)
    place = store_file(settings)
    before = hash_folder(place)
    file.unlink()
    assert store_file(settings) == place and hash_folder(place) == before


def test_a_missing_hash_is_said(file: Path):
    settings = make_settings(file, sha256=None)
    with pytest.raises(ValueError, match=f"is missing; to pin .* add 'sha256: {hash_file(file)}'"):
        store_file(settings)
    with pytest.raises(ValueError, match=r"is 0+, but .* is another file; if it is the one"):
        store_file(make_settings(file, sha256="0" * 64))


def test_wrong_files_are_refused(file: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere.safetensors', which is not there; give the pa"):
        store_file(make_settings(tmp_path / "nowhere.safetensors"))
    pickle = file.rename(file.with_suffix(".pth"))
    with pytest.raises(ValueError, match="other weights can run code when read; convert it once"):
        store_file(make_settings(pickle))
    pickle.rename(file)
    file.write_bytes(b"\x80\x04\x95 no safetensors")
    with pytest.raises(ValueError, match="does not fit timm's test_efficientnet with 7 classes"):
        store_file(make_settings(file))


@pytest.mark.parametrize(
    "changes", [{"num_classes": 8}, {"model": "test_resnet"}, {"model_args": {"pad_typ": "same"}}]
)
def test_what_does_not_fit_is_refused(changes: dict, file: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"does not fit timm's .*; correct model, num_classes or"):
        store_file(make_settings(file, **changes))
    assert not list((tmp_path / "work").glob("hub/*/*"))


def test_unknown_model_is_refused_in_a_sentence():
    check_model("test_resnet")
    with pytest.raises(ValueError, match=r"'resnet_of_mine', which timm does not have; choose"):
        check_model("resnet_of_mine")


def test_timm_names_are_hub_repositories():
    assert hub_repository("resnet50.a1_in1k") == "timm/resnet50.a1_in1k"
    assert hub_repository("someone/model") == "someone/model"
    with pytest.raises(ValueError, match=r"timm knows no such weights of resnet50.*a1_in1k, a1h"):
        hub_repository("resnet50.a9_in1k")
    with pytest.raises(ValueError, match=r"hub is 'resnet_of_mine', which timm does not have"):
        hub_repository("resnet_of_mine.a1_in1k")
