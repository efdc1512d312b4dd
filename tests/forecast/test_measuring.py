"""What measures a machine: every kind that its models need, with the models themselves."""

import timm
import torch
from accelerate import Accelerator
from timm.models import save_for_hf

from house import ROOT
from synthbridge.forecast.measuring import measure_classifier
from synthbridge.forecast.speeds import BACKBONE_KINDS
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
