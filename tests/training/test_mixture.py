import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quarters import make_images
from synthbridge.training.loop import Leg, draw_inputs, draw_step, leg_steps, steps, train
from synthbridge.training.mixture import Mixture
from synthbridge.training.schedule import cosine_rate


@pytest.mark.parametrize(
    ("num_real", "num_synthetic", "fraction", "expected"),
    [(10, 90, 0.5, 32), (90, 10, 0.25, 16), (3, 200, 0.9, 58), (4, 6, 0.5, 5), (9, 9, 0.001, 1)],
)
def test_every_batch_has_the_fraction(num_real, num_synthetic, fraction, expected):
    mixture, total = Mixture(num_real, synthetic_fraction=fraction), num_real + num_synthetic
    batches = list(mixture.steps(total, 64, seed=0, num_steps=30))
    assert len(batches) == 30
    drawn = np.concatenate([batch for batch, _ in batches])
    assert {int((batch >= num_real).sum()) for batch, _ in batches} == {expected}
    assert {len(batch) for batch, _ in batches} == {min(64, total)}
    # Every image of a source comes once before any of it comes again.
    real = (drawn[drawn < num_real], num_real)
    synthetic = (drawn[drawn >= num_real], num_synthetic)
    for source, count in (real, synthetic):
        whole = source[: len(source) // count * count].reshape(-1, count)
        assert all(len(set(turn)) == count for turn in whole)
        assert max(np.bincount(source, minlength=total)) - len(whole) in (0, 1)


def test_the_order_follows_the_seed_and_an_epoch_is_as_long_as_without_a_fraction():
    mixture = Mixture(20, synthetic_fraction=0.5)
    first, same, other = (
        [(batch.tolist(), ends) for batch, ends in mixture.steps(100, 32, seed, num_steps=10)]
        for seed in (0, 0, 1)
    )
    assert first == same != other
    plain = [ends for _, ends in steps(100, 32, 0, 10)]
    assert [ends for _, ends in first] == plain


def test_without_a_fraction_batches_are_those_of_plain_concatenation():
    plain = [batch.tolist() for batch, _ in steps(30, 8, 5, 9)]
    assert plain == [b.tolist() for b, _ in leg_steps(30, 8, 5, 9, Mixture(10))]
    apart = [b.tolist() for b, _ in leg_steps(30, 8, 5, 9, Mixture(10, auxiliary_norm=True))]
    assert apart == [sorted(batch) for batch in plain]


@pytest.mark.parametrize("real_part", [0.8, 0.5, 0.2])
def test_weight_and_fraction_are_datadreams_parts(team, real_part):
    """a CE(real) + (1 - a) CE(synthetic), each a mean, at a = (1 - s) / (1 - s + s w)."""
    losses = torch.rand(64, generator=torch.Generator().manual_seed(0))
    fraction = 0.25
    weight = (1 - real_part) / real_part * (1 - fraction) / fraction
    mixture = Mixture(100, synthetic_fraction=fraction, synthetic_weight=weight)
    batch, _ = next(mixture.steps(400, 64, seed=0, num_steps=1))
    weights = mixture.weigh(batch, team)
    assert weights is not None
    assert torch.isclose(weights.mean(), torch.tensor(1.0))
    expected = real_part * losses[:48].mean() + (1 - real_part) * losses[48:].mean()
    assert torch.isclose((losses * weights).mean(), expected, atol=1e-6)


def test_training_weighs_each_image(recipe, team):
    """Against the update written out by hand, on batches of changing ratio."""
    images, mixture = make_images(20), Mixture(num_real=6, synthetic_weight=0.3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    weight, bias = (p.detach().clone().requires_grad_() for p in model[1].parameters())
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step, (batch, _) in enumerate(leg_steps(20, 8, 3, 6, mixture)):
        drawn = draw_step(images, batch, recipe, np.random.default_rng([3, step]))
        inputs, labels, _, _ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)
        each = F.cross_entropy(inputs.flatten(1) @ weight.T + bias, labels, reduction="none")
        w = torch.tensor([1.0 if row < 6 else 0.3 for row in batch])
        gradients = torch.autograd.grad((w * each).sum() / w.sum(), (weight, bias))
        with torch.no_grad():
            for p, v, gradient in zip((weight, bias), velocity, gradients, strict=True):
                v.mul_(0.9).add_(gradient + 5e-4 * p)
                p.sub_(cosine_rate(0.05, step, 6) * v)
    leg = Leg(num_steps=6, learning_rate=0.05, seed=3, mixture=mixture)
    train(model, images, recipe, leg, team)
    assert torch.allclose(model[1].weight, weight, atol=1e-6)
    assert torch.allclose(model[1].bias, bias, atol=1e-6)


def test_a_weight_of_one_changes_no_byte(recipe, team):
    models = [nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, mixture in zip(models, (None, Mixture(5)), strict=True):
        leg = Leg(num_steps=4, learning_rate=0.05, seed=0, mixture=mixture)
        train(model, make_images(12), recipe, leg, team)
    assert torch.equal(models[0][1].weight, models[1][1].weight)
