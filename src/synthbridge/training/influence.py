"""Which training images help and which harm: the influence of each on a held-out loss.

Koh and Liang (arXiv:1703.04730) ask what a model's loss L would be without training image i, and
answer without training again. For the minimum theta of the mean cross entropy l over n images plus
an L2 penalty, leaving out image i changes the loss by about

    I_i = 1/n  grad L(theta)^T  H^-1  grad l_i(theta)        (H: the Hessian of the objective)

The answer is as good as the objective is smooth and convex, so the model is a linear head on frozen
features. H is never built: H^-1 grad L comes from conjugate gradients, once for all images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthbridge.training.heads import with_ones

MAX_NEWTON_STEPS = 50
MAX_GRADIENT_STEPS = 500  # of conjugate gradients
SOLVED = 1e-8  # of the right side's norm
CONVERGED = 1e-7  # the gradient's norm at the minimum


@dataclass(frozen=True)
class HeadProblem:
    """A linear head's training: the images, and how strongly its weights are held small."""

    inputs: Tensor  # (N, D + 1) float64: features and a one
    labels: Tensor  # (N,) int64
    num_classes: int
    l2: float  # times half the squared norm of all weights, the bias with them

    def without(self, left_out: Tensor) -> "HeadProblem":
        """Return the problem without the images `left_out`, (K,) indices."""
        kept = torch.ones_like(self.labels, dtype=torch.bool)
        kept[left_out] = False
        return HeadProblem(self.inputs[kept], self.labels[kept], self.num_classes, self.l2)

    def objective(self, head: Tensor) -> Tensor:
        """Return what the best `head` (C, D + 1) makes least."""
        return mean_loss(head, self.inputs, self.labels) + self.l2 / 2 * (head**2).sum()

    def gradient(self, head: Tensor) -> Tensor:
        """Return the objective's gradient, (C, D + 1)."""
        return mean_gradient(head, self.inputs, self.labels) + self.l2 * head

    def curve(self, head: Tensor, direction: Tensor) -> Tensor:
        """Return the objective's Hessian at `head` times `direction`, both (C, D + 1)."""
        soft = (self.inputs @ head.T).softmax(1)
        change = soft * (self.inputs @ direction.T)
        change = change - soft * change.sum(1, keepdim=True)
        return change.T @ self.inputs / len(self.labels) + self.l2 * direction


def standardised(features: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Give features (N, D) mean 0 and spread 1, and others (M, D) the same change; add a one."""
    features, others = features.double(), others.double()
    mean, spread = features.mean(0), features.std(0).clamp_min(1e-6)
    return with_ones((features - mean) / spread), with_ones((others - mean) / spread)


def mean_loss(head: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of `inputs` (N, D + 1)."""
    return torch.nn.functional.cross_entropy(inputs @ head.T, labels)


def mean_gradient(head: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return its gradient, (C, D + 1)."""
    return _errors(head, inputs, labels).T @ inputs / len(labels)


def _errors(head: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the probabilities less 1 at the right class, (N, C)."""
    error = (inputs @ head.T).softmax(1)
    error[torch.arange(len(labels), device=labels.device), labels] -= 1
    return error


def fit_head(problem: HeadProblem, start: Tensor | None = None) -> Tensor:
    """Return the best head (C, D + 1), by Newton's method from `start`; None: from zeros."""
    if start is None:
        start = problem.inputs.new_zeros(problem.num_classes, problem.inputs.shape[1])
    head = start
    for _ in range(MAX_NEWTON_STEPS):
        gradient = problem.gradient(head)
        if gradient.norm() < CONVERGED:
            return head
        step, length = solve(problem, head, gradient), 1.0
        here, slope = problem.objective(head), (gradient * step).sum()
        # Far from the minimum a whole step may overshoot (Armijo's rule).
        while problem.objective(head - length * step) > here - 1e-4 * length * slope + 1e-14:
            length /= 2
        head = head - length * step
    raise AssertionError("the objective is convex, so that Newton's method ends")


def solve(problem: HeadProblem, head: Tensor, right: Tensor) -> Tensor:
    """Return H^-1 `right` (C, D + 1), H the Hessian at `head`, by conjugate gradients."""
    found, rest = torch.zeros_like(right), right.clone()
    direction, size = rest.clone(), (rest**2).sum()
    for _ in range(MAX_GRADIENT_STEPS):
        if size.sqrt() <= SOLVED * right.norm():
            break
        curved = problem.curve(head, direction)
        length = size / (direction * curved).sum()
        found = found + length * direction
        rest = rest - length * curved
        size, previous = (rest**2).sum(), size
        direction = rest + size / previous * direction
    return found


def influences(problem: HeadProblem, head: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the mean loss would change without each image, (N,), to first order.

    Args:
        problem: the training images.
        head: its best one.
        inputs: (M, D + 1) of the images that judge.
        labels: (M,) theirs.

    Returns:
        Below 0: the image harms.
    """
    towards = solve(problem, head, mean_gradient(head, inputs, labels))
    errors = _errors(head, problem.inputs, problem.labels)
    return (errors * (problem.inputs @ towards.T)).sum(1) / len(problem.labels)
