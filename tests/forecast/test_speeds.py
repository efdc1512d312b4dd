"""Rates: the committed ones, this machine's own, and which of them fit the models."""

import pytest
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.core.settings import check_settings
from synthbridge.forecast import speeds as rates
from synthbridge.forecast.amounts import DatasetSize
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.params import read_params
from synthbridge.upstream.settings import UpstreamSettings


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A work folder with the rates of a machine that knows another backbone."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path))
    committed = rates.read_rates_file(rates.COMMITTED).devices["cpu"]
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
    YAML(typ="safe", pure=True).dump(values, tmp_path / rates.MEASURED)
    return tmp_path


def test_committed_rates_name_every_kind():
    for device in rates.read_rates_file(rates.COMMITTED).devices.values():
        assert set(device.seconds) == set(rates.DEVICE_KINDS)
        for model in device.generators.values():
            assert set(model) == set(rates.GENERATOR_KINDS)
        for model in device.backbones.values():
            assert set(model) == set(rates.BACKBONE_KINDS)


def test_what_no_gpu_measured_says_predicted():
    devices = rates.read_rates_file(rates.COMMITTED).devices
    assert {device.source for device in devices.values() if device.kind == "gpu"} == {"predicted"}
    assert "predicted" in devices["h200"].origin


def test_predicted_images_a_second_are_the_known_counts():
    """Of 790 TFLOP/s 9.5 images of 50 guided steps a second; G2 asks for 45 % of it."""
    model = rates.read_rates_file(rates.COMMITTED).devices["h200"].generators
    model = model["stable-diffusion-v1-5/stable-diffusion-v1-5"]
    image = 100 * model["denoised_row"] + model["drawn_image"]
    assert 1 / image == pytest.approx(0.45 * 9.5, rel=0.02)


def test_own_rates_come_first_and_bring_their_models(own):
    found = rates.read_rates()
    assert list(found) == ["here", "cpu", "h200"]
    assert found["h200"].bytes["vit_tiny 32"] == {"backbone": 5.0, "classifier": 5.0}
    assert rates.choose_rates("cpu", "miniature", "vit_tiny 32").device == "my own"
    assert rates.choose_rates("cpu", "miniature", "test_resnet 24").device != "my own"
    assert rates.choose_rates("gpu", "miniature", "test_resnet 24") is None
    assert rates.choose_rates("cpu", None, None).device == "my own"


def test_a_fault_in_own_rates_names_the_file(own):
    path = own / rates.MEASURED
    path.write_text(path.read_text().replace("measured", "guessed"))
    with pytest.raises(ValueError, match="rates.yaml: devices.here.source is 'guessed'"):
        rates.read_rates()


def _upstream(**changes):
    values = YAML(typ="safe").load(ROOT / "params.yaml")["upstream"]
    return check_settings(UpstreamSettings, {**values, **changes}, "")


def test_models_are_called_by_what_their_cost_depends_on():
    assert rates.generator_name(_upstream()) == "miniature"
    assert rates.generator_name(_upstream(generator=None)) is None
    hub = {"hub": "owner/sd", "revision": None}
    assert rates.generator_name(_upstream(generator=hub)) == "owner/sd"
    assert rates.backbone_name(_upstream(), 24) == "test_resnet 24"
    for name in ("resnet18.tv_in1k", "timm/resnet18.a1_in1k"):
        backbone = {"hub": name, "revision": None}
        assert rates.backbone_name(_upstream(backbone=backbone), 224) == "resnet18 224"


def test_the_default_is_known_without_measuring(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path))
    params = read_params(ROOT / "params.yaml")
    work = count_work(params, {"digits": DatasetSize(10, 748, 150, 899)})
    found = rates.choose_rates("cpu", work.generator, work.backbone)
    assert 0 < predict(work, found, processes=2).seconds < 3600
