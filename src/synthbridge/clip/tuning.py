"""CLIP classifier tuning: a linear classifier that starts as zero-shot CLIP.

He et al., arXiv:2210.07574, which Bridged takes up in its appendix E: the image encoder is frozen,
and the classes' text embeddings are the weights that tuning starts from. He et al. state AdamW,
rate, weight decay, epochs and batches, of which Bridged repeats the batches alone; the cosine decay
without warm-up, the clipped gradient, the logit scale inside the weights and images without
augmentation are those of He et al.'s public code. Its soft targets for synthetic images are left
out: Bridged does not mention them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from synthbridge.clip.class_scores import unit_mean
from synthbridge.clip.embedding import Clip
from synthbridge.clip.settings import ClipTuningSettings

LARGEST_GRADIENT = 1.0  # its norm is clipped here


@dataclass(frozen=True)
class TuningImages:
    """Images to tune on, as CLIP sees them, and how many of them a step takes."""

    features: Tensor  # (N, D) float32, unit vectors
    labels: Tensor  # (N,) int64
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Return the steps of one pass; the last batch may be smaller."""
        return math.ceil(len(self.labels) / self.batch_size)


@dataclass
class Tuned:
    """A tuned classifier and how it came about."""

    weights: Tensor  # (C, D): logits are features @ weights.T
    gradient_steps: int = 0
    # A value an epoch, over the batches of all images as they were trained on.
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)


def zero_shot_weights(clip: Clip, prompts: Sequence[Sequence[str]]) -> Tensor:
    """Return the classifier that CLIP is without any image: `unit_mean` x CLIP's logit scale.

    Args:
        clip: where the texts are embedded.
        prompts: of each class.

    Returns:
        (C, D) float32 on the CPU.
    """
    rows = np.stack([unit_mean(clip.embed_texts(of_class)) for of_class in prompts])
    return torch.from_numpy(clip.temperature * rows).float()


def probabilities(weights: Tensor, features: Tensor) -> np.ndarray:
    """Return the class probabilities (N, C) float32 of `features` (N, D)."""
    return (features @ weights.T).softmax(1).cpu().numpy()


def tune(
    weights: Tensor, images: Sequence[TuningImages], settings: ClipTuningSettings, *, seed: int
) -> Tuned:
    """Tune a classifier on one kind of images, or on two at once: the sum of their mean losses.

    An epoch is one pass through the first kind; the other goes round as often as that takes.

    Args:
        weights: (C, D) to start from, left as they are.
        images: real ones, synthetic ones, or both.
        settings: of the optimiser.
        seed: draws the order of the images.
    """
    weights = weights.clone().requires_grad_()
    optimizer = torch.optim.AdamW(
        [weights], lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps_per_epoch = images[0].steps_per_epoch
    num_steps = settings.num_epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    batches = [_batches(of_kind, [seed, number]) for number, of_kind in enumerate(images)]
    tuned = Tuned(weights.detach(), num_steps)
    for _ in range(settings.num_epochs):
        tally = torch.zeros(3)  # loss, correct, images since the epoch began
        for _ in range(steps_per_epoch):
            tally += _step(weights, [next(drawn) for drawn in batches], optimizer)
            schedule.step()
        tuned.train_loss.append(float(tally[0] / steps_per_epoch))
        tuned.train_accuracy.append(float(tally[1] / tally[2]))
    return tuned


def _step(
    weights: Tensor, batches: Sequence[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer
) -> Tensor:
    """Take one gradient step; return its loss, correct answers and images, on the CPU."""
    loss, correct = weights.new_zeros(()), weights.new_zeros(())
    for features, labels in batches:
        logits = features @ weights.T
        loss = loss + cross_entropy(logits, labels)
        correct = correct + (logits.argmax(1) == labels).sum()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([weights], LARGEST_GRADIENT)
    optimizer.step()
    count = sum(len(labels) for _, labels in batches)
    return torch.stack([loss.detach(), correct, loss.new_tensor(float(count))]).cpu()


def _batches(images: TuningImages, seed: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches for ever: another order each time round, nothing dropped."""
    rng = np.random.default_rng(seed)
    while True:
        order = torch.from_numpy(rng.permutation(len(images.labels))).to(images.labels.device)
        for chosen in order.split(images.batch_size):
            yield images.features[chosen], images.labels[chosen]
