import errno
import os

import pytest
import torch
from timm import create_model
from timm.models import save_for_hf

from synthbridge.training.classifier import (
    freeze_units,
    load_backbone,
    load_classifier,
    read_normalisation,
    renew_head,
    renew_units,
    save_classifier,
    seeded,
    set_train_mode,
    unit_names,
)


def test_backbone_keeps_its_weights_and_gets_a_seeded_head(backbone):
    own = load_backbone(backbone, num_classes=None, seed=0)
    assert own.get_classifier().out_features == 5
    one, same, other = (load_backbone(backbone, num_classes=3, seed=seed) for seed in (0, 0, 1))
    for name, tensor in own.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, one.state_dict()[name]), name
    assert torch.equal(one.fc.weight, same.fc.weight)
    assert not torch.equal(one.fc.weight, other.fc.weight)
    assert read_normalisation(backbone).std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_fresh_head_is_drawn_as_a_linear_of_torch(architecture, tmp_path):
    """timm's own for a new MobileNet is ten times larger: the loss begins at 7 of 12 classes."""
    config = {"mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 5, "input_size": [3, 160, 160]}
    save_for_hf(
        create_model(architecture, num_classes=5),
        str(tmp_path),
        model_config={"pretrained_cfg": config},
        safe_serialization=True,
    )
    head = load_backbone(tmp_path, num_classes=3, seed=1).get_classifier()
    with seeded(1):
        expected = torch.nn.Linear(head.in_features, 3)
    assert torch.equal(head.weight, expected.weight) and torch.equal(head.bias, expected.bias)


def test_a_fresh_head_is_new_and_the_rest_stays(backbone):
    model = load_backbone(backbone, num_classes=3, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    renew_head(model, 3, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed and all(name.startswith("fc.") for name in changed)


def test_units_of_a_resnet_and_of_a_vit():
    resnet = unit_names(create_model("test_resnet"))
    assert resnet[0][0].startswith("conv1") and resnet[-1] == ["fc.weight", "fc.bias"]
    vit = unit_names(create_model("test_vit"))
    assert any("patch_embed" in name for name in vit[0])
    assert any(name.startswith("head.") for name in vit[-1])


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet50", 18, "conv1.weight", "fc.bias"),  # Gap's 18: stem, 16 bottlenecks, fc
        ("resnet18", 10, "conv1.weight", "fc.bias"),
        ("vit_base_patch16_224", 14, "cls_token", "head.bias"),
        ("vit_large_patch16_224", 26, "cls_token", "head.bias"),
        ("test_resnet", 6, "conv1.0.weight", "fc.bias"),
        ("convnext_tiny", 20, "stem.0.weight", "head.fc.bias"),
        ("mobilenetv3_large_100", 18, "conv_stem.weight", "classifier.bias"),
    ],
)
def test_every_parameter_is_in_one_unit(name, count, first, last):
    with torch.device("meta"):
        model = create_model(name)
    units = unit_names(model)
    assert (len(units), units[0][0], units[-1][-1]) == (count, first, last)
    names = [parameter for unit in units for parameter in unit]
    assert sorted(names) == sorted(parameter for parameter, _ in model.named_parameters())


def test_units_15_to_17_of_a_resnet_50_are_its_last_stage():
    """As Gap says of the layers from which most of the drop stems."""
    with torch.device("meta"):
        units = unit_names(create_model("resnet50"))
    assert all(name.startswith("layer4.") for unit in units[14:17] for name in unit)
    assert not any(name.startswith("layer4.") for unit in units[:14] for name in unit)


def test_a_random_start_has_the_architecture_alone(backbone):
    own = load_backbone(backbone, num_classes=3, seed=1).state_dict()
    one, same, other = (
        load_backbone(backbone, num_classes=3, seed=seed, start="random").state_dict()
        for seed in (1, 1, 2)
    )
    assert own.keys() == one.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name in one if name.endswith("conv1.weight")]
    assert drawn
    for name in drawn:
        assert not torch.equal(one[name], own[name]) and not torch.equal(one[name], other[name])
    assert torch.equal(one["fc.weight"], own["fc.weight"])  # the same seed, the same head


def test_frozen_norms_may_follow_the_batch(backbone):
    model = load_backbone(backbone, num_classes=3, seed=0)
    freeze_units(model, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    set_train_mode(model, "train")
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    frozen = {name for unit in unit_names(model)[:2] for name in unit}
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    assert not any(torch.equal(after[n], before[n]) for n in after if n.endswith("running_mean"))


def test_frozen_units_keep_weights_and_batch_statistics(backbone):
    model = load_backbone(backbone, num_classes=3, seed=0)
    freeze_units(model, 2)
    set_train_mode(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # timm starts each block's last scale at 0: nothing behind it moves at first
        model(torch.randn(4, 3, 16, 16)).square().sum().backward()
        optimizer.step()
    frozen = {name for unit in unit_names(model)[:2] for name in unit}
    modules = {name.rpartition(".")[0] for name in frozen}
    for name, tensor in model.state_dict().items():
        is_frozen = name in frozen or name.rpartition(".")[0] in modules
        assert torch.equal(tensor, before[name]) == is_frozen, name
    with pytest.raises(ValueError, match=r"frozen_units is 99, but the model has \d+ units"):
        freeze_units(model, 99)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_renewed_units_are_another_models_with_their_statistics(name):
    """Which unit an entry belongs to is told by its module alone, statistics as weights."""
    donor, fresh = (create_model(name, num_classes=3) for _ in range(2))
    for model in (donor, fresh):
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randint(0, 1000, tensor.shape))
    before = {key: tensor.clone() for key, tensor in donor.state_dict().items()}
    units = unit_names(donor)
    renew_units(donor, fresh, 3)
    first = "conv1.0.weight" if name == "test_resnet" else "pos_embed"
    assert first in units[0] and torch.equal(donor.state_dict()[first], before[first])
    stages = ("conv1", "bn1", "layer1", "layer2") if name == "test_resnet" else ()
    kept = tuple(
        f"{part}." for part in (*stages, "patch_embed", "norm_pre", "blocks.0", "blocks.1")
    )
    for key, tensor in donor.state_dict().items():
        is_below = key.startswith(kept) or key in ("cls_token", "pos_embed", "reg_token")
        assert torch.equal(tensor, (before if is_below else fresh.state_dict())[key]), key


def test_checkpoint_round_trip_and_misfits(backbone, tmp_path):
    model = load_backbone(backbone, num_classes=3, seed=0)
    path = tmp_path / "model.safetensors"
    save_classifier(model.to(memory_format=torch.channels_last), path)
    other = load_backbone(backbone, num_classes=3, seed=9)
    load_classifier(other, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    with pytest.raises(ValueError, match=r"'fc.bias' has shape \(3,\) instead of \(4,\)"):
        load_classifier(load_backbone(backbone, num_classes=4, seed=0), path)
    with pytest.raises(ValueError, match="does not fit the model"):
        load_classifier(create_model("test_vit", num_classes=3), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        load_classifier(other, path)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no timm model"):
        load_backbone(tmp_path, num_classes=3, seed=0)


def test_a_full_disk_is_said_as_such_and_nothing_half_written_stays(backbone, tmp_path):
    path = tmp_path / "model.safetensors"
    (tmp_path / f".model.safetensors.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as refused:
        save_classifier(load_backbone(backbone, num_classes=3, seed=0), path)
    assert refused.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
