import copy

import numpy as np
import pytest
import torch
from timm import create_model
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F

from quarters import make_images
from synthbridge.training.auxiliary_norm import (
    NORMS,
    AuxiliaryNorm,
    join_norms,
    route,
    separate_norms,
)
from synthbridge.training.classifier import (
    freeze_units,
    load_backbone,
    seeded,
    set_train_mode,
)
from synthbridge.training.loop import Leg, draw_inputs, draw_step, leg_steps, train
from synthbridge.training.mixture import Mixture
from synthbridge.training.schedule import cosine_rate


def _norm(make):
    norm = make(4)
    generator = torch.Generator().manual_seed(0)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor, generator=generator)
    return norm


@pytest.mark.parametrize("make", [nn.BatchNorm2d, lambda width: BatchNormAct2d(width)])
def test_it_is_two_batch_norms_fed_apart(make):
    """Any ratio in a batch, none of one kind among them: outputs, gradients, statistics."""
    both = nn.Sequential(_norm(make))
    real, synthetic = _norm(make), _norm(make)
    separate_norms(both)
    generator = torch.Generator().manual_seed(1)
    for num_real, num_synthetic in ((5, 3), (1, 7), (8, 0), (0, 6), (2, 2)):
        x = torch.randn((num_real + num_synthetic, 4, 3, 3), generator=generator)
        target = torch.randn(x.shape, generator=generator)
        mine, theirs = (x.clone().requires_grad_() for _ in range(2))
        route(both, here=(num_real, num_synthetic), in_all=(num_real, num_synthetic))
        out = both(mine)
        parts = [
            norm(part) if len(part) else part
            for norm, part in ((real, theirs[:num_real]), (synthetic, theirs[num_real:]))
        ]
        assert torch.equal(out, torch.cat(parts))
        (out * target).sum().backward()
        (torch.cat(parts) * target).sum().backward()
        assert torch.equal(mine.grad, theirs.grad)
    for twin, reference in ((both[0].real, real), (both[0].synthetic, synthetic)):
        for name, tensor in reference.state_dict().items():
            assert torch.equal(twin.state_dict()[name], tensor), name
        for a, b in zip(twin.parameters(), reference.parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)


def test_without_images_the_gradient_is_zero_and_nothing_moves():
    norm = AuxiliaryNorm(_norm(nn.BatchNorm2d))
    before = copy.deepcopy(norm.synthetic.state_dict())
    norm.here = norm.in_all = (3, 0)
    norm(torch.randn(3, 4, 2, 2)).sum().backward()
    for name, tensor in norm.synthetic.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(not parameter.grad.any() for parameter in norm.synthetic.parameters())
    assert all(parameter.grad.any() for parameter in norm.real.parameters())


def test_a_single_value_is_normalised_by_the_running_statistics():
    """torch's batch norm refuses it: one image of one pixel, deep in a network."""
    plain = _norm(nn.BatchNorm2d)
    norm = AuxiliaryNorm(copy.deepcopy(plain))
    norm.here = norm.in_all = (1, 5)
    x = torch.randn(6, 4, 1, 1)
    out = norm(x)
    assert torch.equal(out[:1], plain.eval()(x[:1]))
    assert torch.equal(norm.real.running_mean, plain.running_mean) and norm.real.training
    assert torch.equal(out[1:], plain.train()(x[1:]))


def test_a_test_uses_the_real_norms_and_a_checkpoint_is_plain(backbone):
    model = load_backbone(backbone, num_classes=3, seed=0)
    names = model.state_dict().keys()
    set_train_mode(model)
    separate_norms(model)
    x = torch.randn(6, 3, 16, 16)
    route(model, here=(2, 4), in_all=(2, 4))
    model(x)
    apart = model.eval()(x)
    join_norms(model)
    assert model.state_dict().keys() == names
    assert torch.equal(model(x), apart)
    assert not any(isinstance(module, AuxiliaryNorm) for module in model.modules())


def _tied(model):
    """Copy `model`, sharing every weight but the batch norms': two networks that learn as one."""
    other = copy.deepcopy(model)
    for module, twin in zip(model.modules(), other.modules(), strict=True):
        if not isinstance(module, NORMS):
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(twin, name, parameter)
    return other


class _InDoubles(nn.Module):
    """A model in float64: rounding grows a hundredfold a step where norms see few values."""

    def __init__(self, model):
        super().__init__()
        self.model = model.double()

    def forward(self, x):
        return self.model(x.double())


def _vit():
    with seeded(0):
        return create_model("test_vit", num_classes=4, img_size=16, patch_size=4)


def _spread(model, seed):
    """Move every weight and bias of the norms, which start at 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            for parameter in module.parameters():
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("num_real", [0, 2, 5])
def test_a_transformers_layer_norms_are_separated_row_by_row(num_real):
    """Against two plain models that share all weights but the norms'."""
    real, synthetic = _vit().train(), _vit().train()
    _spread(real, 1)
    _spread(synthetic, 2)
    model, names = copy.deepcopy(real), real.state_dict().keys()
    separate_norms(model)
    for (_, apart), twin in zip(
        ((n, m) for n, m in model.named_modules() if isinstance(m, AuxiliaryNorm)),
        (module for module in synthetic.modules() if isinstance(module, nn.LayerNorm)),
        strict=True,
    ):
        apart.synthetic.load_state_dict(twin.state_dict())
    x, here = torch.randn(5, 3, 16, 16), (num_real, 5 - num_real)
    route(model, here=here, in_all=here)
    parts = ((real, x[:num_real]), (synthetic, x[num_real:]))
    expected = torch.cat([network(part) for network, part in parts if len(part)])
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert num_real == 5 or not torch.allclose(model(x), real(x), atol=1e-2)
    model.eval()
    assert torch.equal(model(x), real.eval()(x))  # a test uses the real images' norms
    join_norms(model)
    assert model.state_dict().keys() == names and torch.equal(model(x), real(x))


def test_rows_that_are_no_images_are_refused():
    norm = AuxiliaryNorm(nn.LayerNorm(4))
    norm.here = norm.in_all = (1, 2)
    with pytest.raises(ValueError, match="sees 12 rows of 3 images, such as windows; remove"):
        norm(torch.randn(12, 7, 4))


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_training_is_that_of_two_networks_which_share_all_but_their_norms(
    kind, backbone, recipe, team
):
    """A reference with plain norms alone: each source has its network, the losses are added."""
    images, mixture = make_images(18), Mixture(num_real=9, auxiliary_norm=True)
    network = _vit() if kind == "vit" else load_backbone(backbone, num_classes=4, seed=0)
    model = _InDoubles(network)
    real = copy.deepcopy(model).train()
    synthetic = _tied(real)
    parameters = list(dict.fromkeys([*real.parameters(), *synthetic.parameters()]))
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
    ratios = set()
    for step, (batch, _) in enumerate(leg_steps(18, 8, 3, 3, mixture)):
        drawn = draw_step(images, batch, recipe, np.random.default_rng([3, step]))
        inputs, labels, _, _ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)
        num_real = int((batch < 9).sum())
        ratios.add((num_real, len(batch) - num_real))
        logits = torch.cat([real(inputs[:num_real]), synthetic(inputs[num_real:])])
        optimizer.zero_grad()
        (F.cross_entropy(logits.float(), labels, reduction="sum") * (1 / len(batch))).backward()
        optimizer.param_groups[0]["lr"] = cosine_rate(0.05, step, 3)
        optimizer.step()
    assert len(ratios) > 1 and min(min(ratio) for ratio in ratios) > 1
    leg = Leg(num_steps=3, learning_rate=0.05, seed=3, mixture=mixture)
    train(model, images, recipe, leg, team)
    for name, tensor in real.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-7), name


def test_models_without_a_norm_that_trains_are_refused(backbone):
    with pytest.raises(ValueError, match="this Sequential has none that trains; remove"):
        separate_norms(nn.Sequential(nn.Conv2d(3, 4, 1)).train())
    model = load_backbone(backbone, num_classes=3, seed=0)
    freeze_units(model, 5)
    set_train_mode(model)
    with pytest.raises(ValueError, match="this ResNet has none that trains; .*freeze fewer units"):
        separate_norms(model)
    set_train_mode(model, "train")
    separate_norms(model)
