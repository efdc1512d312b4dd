"""Influence against what it estimates: training again without the image."""

import pytest
import torch

from synthbridge.training.influence import (
    HeadProblem,
    fit_head,
    influences,
    mean_loss,
    solve,
    standardised,
)


@pytest.fixture
def world():
    """Three classes as overlapping clouds, a fifth of the labels wrong, and images that judge."""
    rng = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(3, 4, generator=rng)

    def draw(count):
        labels = torch.arange(count) % 3
        return centres[labels] + 1.5 * torch.randn(count, 4, generator=rng), labels

    (features, labels), (others, truth) = draw(60), draw(90)
    wrong = torch.arange(12)
    labels[wrong] = (labels[wrong] + 1) % 3
    inputs, judges = standardised(features, others)
    return HeadProblem(inputs, labels, num_classes=3, l2=0.05), judges, truth, wrong


def test_the_best_head_has_no_gradient_by_autograd_either(world):
    problem, *_ = world
    head = fit_head(problem).requires_grad_()
    loss = torch.nn.functional.cross_entropy(problem.inputs @ head.T, problem.labels)
    (gradient,) = torch.autograd.grad(loss + problem.l2 / 2 * (head**2).sum(), head)
    assert gradient.norm() < 1e-6


def test_solving_inverts_the_hessian_of_autograd(world):
    problem, *_ = world
    head = 0.3 * torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    right = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    hessian = torch.autograd.functional.hessian(problem.objective, head)
    exact = torch.linalg.solve(torch.as_tensor(hessian).reshape(15, 15), right.flatten())
    torch.testing.assert_close(solve(problem, head, right).flatten(), exact)


def test_influence_is_what_training_without_the_image_shows(world):
    problem, judges, truth, _ = world
    head = fit_head(problem)
    estimated = influences(problem, head, judges, truth)
    before = mean_loss(head, judges, truth)
    exact = torch.stack(
        [
            mean_loss(fit_head(problem.without(torch.tensor([index])), head), judges, truth)
            - before
            for index in range(60)
        ]
    )
    assert torch.corrcoef(torch.stack([estimated, exact]))[0, 1] > 0.99
    clear = exact.abs() > 0.2 * exact.abs().max()
    assert (estimated.sign() == exact.sign())[clear].all() and clear.sum() > 10


def test_wrong_labels_harm_and_without_them_the_head_is_better(world):
    problem, judges, truth, wrong = world
    head = fit_head(problem)
    worst = influences(problem, head, judges, truth).argsort()[: len(wrong)]
    assert len(set(worst.tolist()) & set(wrong.tolist())) >= 9
    before = mean_loss(head, judges, truth)
    assert mean_loss(fit_head(problem.without(worst)), judges, truth) < before


def test_features_are_standardised_by_the_training_images_alone():
    features = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    inputs, others = standardised(features, torch.tensor([[2.0, 5.0]]))
    assert inputs.shape == (2, 3) and inputs[:, 0].sum() == 0 and (inputs[:, 2] == 1).all()
    assert others.tolist() == [[0.0, 0.0, 1.0]]
