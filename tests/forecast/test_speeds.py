"""Speeds: the committed ones, this machine's own, and which of them fit the models."""

import pytest
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.core.settings import check_settings
from synthbridge.forecast import speeds
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.params import read_params
from synthbridge.upstream.settings import UpstreamSettings


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A work folder with the speeds of a machine that knows another backbone."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path))
    committed = speeds.read_speeds_file(speeds.COMMITTED).devices["cpu"]
    mine = committed.model_copy(
        update={
            "device": "my own",
            "backbones": {"vit_tiny 32": committed.backbones["test_resnet 24"]},
        }
    )
    values = {
        "devices": {"here": mine.model_dump(exclude_defaults=True)},
        "bytes": {"vit_tiny 32": {"backbone": 5.0, "classifier": 5.0}},
    }
    YAML(typ="safe", pure=True).dump(values, tmp_path / speeds.MEASURED)
    return tmp_path


def _own_device(own):
    """Return the values of the own file, and of its device."""
    values = YAML(typ="safe").load(own / speeds.MEASURED)
    return values, values["devices"]["here"]


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        (["seconds"], "embedded_image"),
        (["generators", "miniature"], "denoised_row"),
        (["backbones", "vit_tiny 32"], "trained_row"),
    ],
)
def test_a_device_or_model_without_a_kind_is_refused(own, groups, kind):
    values, group = _own_device(own)
    for name in groups:
        group = group[name]
    del group[kind]
    YAML(typ="safe", pure=True).dump(values, own / speeds.MEASURED)
    where = ".".join(["here", *groups])
    with pytest.raises(ValueError, match=f"speeds.yaml: devices.{where} lacks {kind}; .*--measure"):
        speeds.read_speeds()


@pytest.mark.parametrize("basis", ["measured", "predicted"])
def test_speeds_say_whether_anyone_measured_them(own, basis):
    values, device = _own_device(own)
    device |= {"basis": basis, "date": "2026-11-27"}
    YAML(typ="safe", pure=True).dump(values, own / speeds.MEASURED)
    assert speeds.read_speeds()["here"].origin == f"my own, {basis} 2026-11-27"


def test_predicted_images_a_second_are_the_known_counts():
    """Of 790 TFLOP/s 9.5 images of 50 guided steps a second; G2 asks for 45 % of it."""
    model = speeds.read_speeds_file(speeds.COMMITTED).devices["h200"].generators
    model = model["stable-diffusion-v1-5/stable-diffusion-v1-5"]
    image = 100 * model["denoised_row"] + model["drawn_image"]
    assert 1 / image == pytest.approx(0.45 * 9.5, rel=0.02)


def test_own_speeds_come_first_and_bring_their_models(own):
    found = speeds.read_speeds()
    assert list(found)[:3] == ["here", "cpu", "h200"]
    assert found["h200"].bytes["vit_tiny 32"] == {"backbone": 5.0, "classifier": 5.0}
    assert speeds.choose_speeds("cpu", "miniature", "vit_tiny 32").device == "my own"
    assert speeds.choose_speeds("cpu", "miniature", "test_resnet 24").device != "my own"
    assert speeds.choose_speeds("gpu", "miniature", "test_resnet 24") is None
    assert speeds.choose_speeds("cpu", None, None).device == "my own"


def test_a_fault_in_own_speeds_names_the_file(own):
    path = own / speeds.MEASURED
    path.write_text(path.read_text().replace("measured", "guessed"))
    with pytest.raises(ValueError, match="speeds.yaml: devices.here.basis is 'guessed'"):
        speeds.read_speeds()


def _upstream(**changes):
    values = YAML(typ="safe").load(ROOT / "params.yaml")["upstream"]
    return check_settings(UpstreamSettings, {**values, **changes}, "")


def test_models_are_called_by_what_their_cost_depends_on():
    assert speeds.generator_name(_upstream()) == "miniature"
    assert speeds.generator_name(_upstream(generator=None)) is None
    hub = {"hub": "owner/sd", "revision": None}
    assert speeds.generator_name(_upstream(generator=hub)) == "owner/sd"
    assert speeds.backbone_name(_upstream(), 24) == "test_resnet 24"
    for name in ("resnet18.tv_in1k", "timm/resnet18.a1_in1k"):
        backbone = {"hub": name, "revision": None}
        assert speeds.backbone_name(_upstream(backbone=backbone), 224) == "resnet18 224"


def test_the_default_is_known_without_measuring(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path))
    params = read_params(ROOT / "params.yaml")
    work = count_work(params, {"digits": DatasetSize(10, 748, 150, 899)})
    found = speeds.choose_speeds("cpu", work.generator, work.backbone)
    assert 0 < predict(work, found, processes=2).seconds < 3600


def test_a_backbone_at_other_pixels_costs_as_many_of_them():
    """What the card computes goes with the pixels; the rest, and the file, stay."""
    h200 = speeds.read_speeds()["h200"]
    at_224, at_112 = (h200.of(None, f"resnet50 {size}") for size in (224, 112))
    assert at_112["trained_row"] == pytest.approx(at_224["trained_row"] / 4)
    assert at_112["gradient_step"] == at_224["gradient_step"]
    assert h200.sizes_of("resnet50 112") == h200.sizes_of("resnet50 224") != {}
    with pytest.raises(ValueError, match="no speed of backbone 'resnet51 112'"):
        h200.of(None, "resnet51 112")
