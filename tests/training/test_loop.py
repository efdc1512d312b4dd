import numpy as np
import pytest
import torch
from torch import nn

from quarters import make_images
from synthbridge.training import loop
from synthbridge.training.classifier import load_backbone
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import (
    DivergedError,
    Leg,
    draw_inputs,
    draw_step,
    predict,
    steps,
    train,
)
from synthbridge.training.schedule import cosine_rate
from synthbridge.training.team import summed_cross_entropy


def _train(model, images, recipe, team, **changes):
    leg = Leg(**{"num_steps": 6, "learning_rate": 0.05, "seed": 3, **changes})
    return train(model, images, recipe, leg, team)


def test_steps_are_whole_epochs_cut_at_the_end():
    batches = list(steps(10, 4, seed=0, num_steps=7))
    assert len(batches) == 7
    assert [ends for _, ends in batches] == [False, False, True, False, False, True, True]
    for epoch in (0, 1):
        seen = np.concatenate([batch for batch, _ in batches[3 * epoch : 3 * epoch + 3]])
        assert sorted(seen) == list(range(10))


def test_loop_is_plain_sgd_with_momentum(recipe, team):
    """Against the update written out by hand: v = m v + (g + wd w); w = w - lr v."""
    images = make_images(8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    reference = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    reference.load_state_dict(model.state_dict())
    velocity = [torch.zeros_like(parameter) for parameter in reference.parameters()]
    for step, (batch, _) in enumerate(steps(8, 8, 3, 6)):
        drawn = draw_step(images, batch, recipe, np.random.default_rng([3, step]))
        inputs, labels, _, _ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)
        loss = nn.functional.cross_entropy(reference(inputs), labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for parameter, v, gradient in zip(
                reference.parameters(), velocity, gradients, strict=True
            ):
                v.mul_(0.9).add_(gradient + 5e-4 * parameter)
                parameter.sub_(cosine_rate(0.05, step, 6) * v)
    _train(model, images, recipe, team)
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_each_epoch_tells_its_means(recipe, team, monkeypatch):
    heard = []
    monkeypatch.setattr(
        loop, "measure", lambda step, **values: heard.append((step, *values.values()))
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    curve = _train(model, make_images(20), recipe, team)  # three batches an epoch
    assert heard == list(zip((3, 6), curve.train_loss, curve.train_accuracy, strict=True))


def test_it_learns_eight_images(backbone, recipe, team):
    images = make_images(8)
    model = load_backbone(backbone, num_classes=4, seed=0)
    curve = _train(model, images, recipe, team, num_steps=60)
    assert curve.train_loss[0] > 1.0 and curve.train_loss[-1] < 0.1
    assert curve.train_accuracy[-1] == 1.0
    predicted = predict(model, images, recipe, team)
    assert np.array_equal(predicted.argmax(1), images.labels.numpy())
    assert np.allclose(predicted.sum(1), 1, atol=1e-5)


def test_same_seed_same_weights(backbone, recipe, team):
    models = [load_backbone(backbone, num_classes=4, seed=0) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        _train(model, make_images(12), recipe, team, seed=seed, mixup=0.2)
    one, same, other = (list(model.parameters()) for model in models)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_how_many_steps_are_drawn_ahead_changes_nothing(recipe, team, mixup, monkeypatch):
    weights = []
    for ahead in (1, 4, 100):  # of seven steps, in epochs of three
        monkeypatch.setattr(loop, "STEPS_DRAWN_AHEAD", ahead)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
        _train(model, make_images(20), recipe, team, num_steps=7, mixup=mixup)
        weights.append(model[1].weight)
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


def test_mixup_mixes_pairs_of_the_batch_without_smoothing(recipe, team):
    images = make_images(8)
    drawn = draw_step(images, np.arange(8), recipe, np.random.default_rng(5))
    plain, labels, _, whole = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)
    mixed, first, second, part = draw_inputs(images, drawn, recipe, mixup=1.0, team=team)
    assert whole == 1.0 and 0 < part < 1
    assert torch.equal(first, labels)
    rest = (mixed - part * plain) / (1 - part)  # each row is another image of the batch
    for row, label in zip(rest, second, strict=True):
        distances = (plain - row).square().mean((1, 2, 3))
        assert distances.min() < 1e-6 and labels[distances.argmin()] == label


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_soft_labels_that_are_hard_train_alike(recipe, team, mixup):
    curves, weights = [], []
    for soft in (False, True):
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)), make_images(20)
        if soft:
            table = nn.functional.one_hot(images.labels, 4).float()
            images = ImageSet(images.images, table)
        curves.append(_train(model, images, recipe, team, mixup=mixup))
        weights.append(model[1].weight.detach())
    torch.testing.assert_close(weights[0], weights[1])
    assert curves[0].train_accuracy == curves[1].train_accuracy
    assert curves[0].train_loss == pytest.approx(curves[1].train_loss)


def test_a_soft_label_is_two_hard_ones_by_their_parts():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    first, second, parts = torch.tensor([0, 1, 2]), torch.tensor([3, 2, 0]), torch.tensor([0.3] * 3)
    table = torch.zeros(3, 4)
    table[range(3), first], table[range(3), second] = parts, 1 - parts
    one = summed_cross_entropy(logits, first, parts) + summed_cross_entropy(
        logits, second, 1 - parts
    )
    torch.testing.assert_close(summed_cross_entropy(logits, table), one)


def test_divergence_is_a_sentence(backbone, recipe, team):
    model = load_backbone(backbone, num_classes=4, seed=0)
    with pytest.raises(DivergedError, match="choose a lower rate"):
        _train(model, make_images(8), recipe, team, learning_rate=1e30, num_steps=20)


def test_inputs_have_the_models_memory_format(recipe, team):
    """Channels last, as `Team.wrap` makes the model; the values are those of any format."""
    images = make_images(8)
    drawn = draw_step(images, np.arange(8), recipe, np.random.default_rng(0))
    inputs, *_ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    model = team.wrap(nn.Conv2d(3, 4, 3))
    assert torch.equal(model(inputs), model(inputs.contiguous()))


def test_answers_do_not_depend_on_how_the_weights_lie_in_memory(backbone, recipe, team):
    """A model that was loaded answers as the one that was trained: to the bit."""
    model = load_backbone(backbone, num_classes=4, seed=0)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # a fresh one's statistics hide the difference
            nn.init.uniform_(module.running_var, 0.1, 2.0)  # pyright: ignore
            nn.init.normal_(module.running_mean)  # pyright: ignore
            nn.init.uniform_(module.weight, 0.5, 2.0)
    images = make_images(40)
    loaded = predict(model, images, recipe, team)
    trained = predict(team.wrap(model), images, recipe, team)
    assert np.array_equal(loaded, trained)
