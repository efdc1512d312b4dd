import pytest
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from synthbridge.upstream.optimisation import descend, take_steps

STEPS = 30


def make_model() -> nn.Module:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, bias=False)  # behind the norm a bias has no gradient
    model = nn.Sequential(convolution, nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5))
    return model.to(memory_format=torch.channels_last)  # pyright: ignore


def losses_of(model: nn.Module):
    draws = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        images, labels = torch.randn(6, 3, 4, 4, generator=draws), torch.arange(6) % 5
        yield nn.functional.cross_entropy(4 * model(images), labels)


def train_by_torch(model: nn.Module, max_norm: float | None) -> None:
    """Walk through the parameters one by one."""
    optimiser = AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = OneCycleLR(optimiser, 1e-2, total_steps=STEPS, pct_start=0.15)
    for loss in losses_of(model):
        optimiser.zero_grad()
        loss.backward()
        if max_norm:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_the_steps_are_those_of_adamw_on_each_parameter(max_norm: float | None):
    expected, model = make_model(), make_model()
    train_by_torch(expected, max_norm)
    with descend(model, 1e-2, STEPS, max_norm=max_norm) as step:
        for loss in losses_of(model):
            step(loss)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-3, atol=1e-5)


def test_afterwards_each_parameter_is_a_tensor_of_its_own_with_the_channels_where_they_were():
    model = make_model()
    strides = [parameter.stride() for parameter in model.parameters()]
    with descend(model, 1e-2, STEPS) as step:
        step(next(losses_of(model)))
    parameters = list(model.parameters())
    assert [parameter.stride() for parameter in parameters] == strides
    assert all(parameter.grad is None for parameter in parameters)
    assert len({parameter.untyped_storage().data_ptr() for parameter in parameters}) == 5


def test_all_steps_are_taken():
    taken = []
    take_steps((taken.append(step) or 0.5 for step in range(3)), 3, "training")
    assert taken == [0, 1, 2]
