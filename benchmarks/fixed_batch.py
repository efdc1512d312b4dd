"""Our training loop without its loader: one batch, ready on the device, again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch import Tensor

from synthbridge.training import loop


@contextmanager
def one_fixed_batch(inputs: Tensor, labels: Tensor) -> Iterator[None]:
    """Let `loop.train` take `inputs` (B, 3, H, W) and `labels` (B,) in the place of each batch."""

    def draw(*_: object, **__: object) -> tuple[Tensor, Tensor, Tensor, float]:
        return inputs, labels, labels, 1.0

    with patch.object(loop, "draw_inputs", draw):
        yield
