"""Our training loop without its loader: one batch, ready on the device, again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from torch import Tensor

from synthbridge.training import loop
from synthbridge.training.loop import StepDraw

NO_BOXES = np.empty((0, 2, 3), np.float32)


@contextmanager
def one_fixed_batch(inputs: Tensor, labels: Tensor) -> Iterator[None]:
    """Let `loop.train` take `inputs` (B, 3, H, W) and `labels` (B,) in the place of each batch."""

    def draw(*_: object, **__: object) -> tuple[Tensor, Tensor, Tensor, float]:
        return inputs, labels, labels, 1.0

    def draw_nothing(__: object, batch: np.ndarray, *_: object) -> StepDraw:
        return StepDraw(batch, NO_BOXES, rng)

    rng = np.random.default_rng(0)
    with patch.object(loop, "draw_inputs", draw), patch.object(loop, "draw_step", draw_nothing):
        yield
