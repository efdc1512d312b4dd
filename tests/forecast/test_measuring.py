"""What measures a machine: every kind that its models need, with the models themselves."""

import pytest
import timm
import torch
from accelerate import Accelerator
from families import FAMILIES
from timm.models import save_for_hf

from house import ROOT
from synthbridge.forecast import measuring
from synthbridge.forecast.measuring import measure_classifier, measure_generator
from synthbridge.forecast.speeds import BACKBONE_KINDS, GENERATOR_KINDS
from synthbridge.params import read_params
from synthbridge.training.team import Team


def test_every_kind_of_a_backbone_is_measured(tmp_path):
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 24, 24]}
    torch.manual_seed(0)
    save_for_hf(
        timm.create_model("test_resnet", num_classes=5),
        str(tmp_path),
        model_config={"pretrained_cfg": config},
        safe_serialization=True,
    )
    params = read_params(ROOT / "params.yaml")
    training = params.training.model_copy(update={"batch_size": 16})
    probe = params.probe.model_copy(update={"num_epochs": 2})
    params = params.model_copy(update={"training": training, "probe": probe})
    found = measure_classifier(params, tmp_path, Team(Accelerator(cpu=True), rank=0, size=1))
    assert set(found) == set(BACKBONE_KINDS)
    assert all(value >= 0 for value in found.values())
    assert found["predicted_row"] > 0 and found["training"] > 0


@pytest.mark.parametrize("name", ["noise", "sdxl", "flux", "flux2"])
def test_every_kind_of_a_generator_is_measured(name, tmp_path, monkeypatch):
    """With words and without, guided and not, whatever the sampler of params.yaml."""
    monkeypatch.setattr(measuring, "seconds_of_code", lambda code: 1.0)
    runs = []
    monkeypatch.setattr(measuring, "least_seconds", lambda run: runs.append(run()) or 2.0)

    def seconds_of_one(run, small, large):
        run(1)
        return 1.0, 3.0

    monkeypatch.setattr(measuring, "seconds_of_one", seconds_of_one)
    params = read_params(ROOT / "params.yaml")
    invert = params.invert.model_copy(update={"batch_size": 2})
    params = params.model_copy(update={"invert": invert})
    folder = FAMILIES[name].write(tmp_path / "model")
    found = measure_generator(params, folder, torch.device("cpu"))
    assert set(found) == set(GENERATOR_KINDS)
    rows = 1 if FAMILIES[name].guidance_scale == 1 else 2
    assert found["denoised_row"] == pytest.approx(1 / (64 * rows))
    assert len(runs) == (2 if FAMILIES[name].has_words else 3)  # writing, encoding, a step back
