"""How real and synthetic images share the batches, the loss and the norms of a leg."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from synthbridge.training.auxiliary_norm import join_norms, route, separate_norms
from synthbridge.training.classifier import set_train_mode
from synthbridge.training.schedule import num_batches, share
from synthbridge.training.team import Team


@dataclass(frozen=True)
class Mixture:
    """A leg's images: the first `num_real` of them are real, the others synthetic."""

    num_real: int
    synthetic_fraction: float | None = None  # of every batch; None: as the images happen to fall
    synthetic_weight: float = 1.0  # in the loss, where a real image weighs 1
    auxiliary_norm: bool = False  # synthetic images pass through norms of their own

    def steps(
        self, num_images: int, batch_size: int, seed: int, num_steps: int
    ) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield `num_steps` batches with the same fraction of synthetic images in each.

        Real and synthetic images are shuffled apart, each pass over them anew, and every image of
        one source comes once before any of it comes again. So the smaller source repeats, in
        fresh crops, also within a batch that asks for more images than it has.

        Args:
            num_images: real and synthetic ones together, both at least one.
            batch_size: at most so many a batch; fewer where there are fewer images in all.
            seed: decides the order.
            num_steps: gradient steps.

        Yields:
            Indices, real ones first, and whether the step is the last of an epoch: of as many
            steps as one pass over all images would take.
        """
        size = min(batch_size, num_images)
        num_synthetic = self._num_synthetic(size)
        real = _passes(self.num_real, seed, 0)
        synthetic = _passes(num_images - self.num_real, seed, 1)
        epoch = num_batches(num_images, batch_size)
        for step in range(num_steps):
            first = np.fromiter(islice(real, size - num_synthetic), int)
            second = self.num_real + np.fromiter(islice(synthetic, num_synthetic), int)
            is_last = (step + 1) % epoch == 0 or step == num_steps - 1
            yield np.concatenate([first, second]), is_last

    def _num_synthetic(self, size: int) -> int:
        """Return the synthetic images of a batch of `size`: the fraction, but one of each kind."""
        assert self.synthetic_fraction is not None
        return min(max(round(self.synthetic_fraction * size), 1), size - 1)

    def order(self, batch: np.ndarray) -> np.ndarray:
        """Put a batch's real images first where they and the synthetic ones go separate ways."""
        return np.sort(batch) if self.auxiliary_norm else batch

    def weigh(self, batch: np.ndarray, team: Team) -> Tensor | None:
        """Return the loss weights of this process's part of a batch, whose mean over all is 1.

        So the loss is sum(w_i CE_i) / sum(w_i), and a weight does not change the step's length.
        With a fraction s of synthetic images and their weight w it equals DataDream's
        a CE(real) + (1 - a) CE(synthetic), means of each, at a = (1 - s) / (1 - s + s w)
        (arXiv:2407.10910).
        """
        if self.synthetic_weight == 1:
            return None
        weights = np.where(batch < self.num_real, 1.0, self.synthetic_weight)
        mine = share(weights / weights.mean(), team.rank, team.size)
        return torch.from_numpy(mine.astype(np.float32)).to(team.device)

    def separate_norms(self, model: nn.Module, frozen_norm: Literal["eval", "train"]) -> None:
        """Give the synthetic images norms of their own, where this leg asks for it.

        Raises:
            ValueError: if the model has no norm that trains.
        """
        if self.auxiliary_norm:
            set_train_mode(model, frozen_norm)
            separate_norms(model)

    def route(self, model: nn.Module, batch: np.ndarray, team: Team) -> None:
        """Tell the separate norms which rows of the coming inputs are real."""
        if self.auxiliary_norm:
            mine = share(batch, team.rank, team.size)
            is_real, is_mine_real = batch < self.num_real, mine < self.num_real
            route(
                model,
                here=(int(is_mine_real.sum()), int((~is_mine_real).sum())),
                in_all=(int(is_real.sum()), int((~is_real).sum())),
            )

    def join_norms(self, model: nn.Module) -> None:
        """Undo `separate_norms`: the real images' norms stay."""
        if self.auxiliary_norm:
            join_norms(model)


def _passes(num_images: int, seed: int, source: int) -> Iterator[int]:
    """Yield indices without end: every one once a pass, each pass in a new order."""
    for turn in count():
        yield from np.random.default_rng([seed, source, turn]).permutation(num_images)
