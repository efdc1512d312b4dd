import math

import numpy as np
import torch

from synthbridge.training.schedule import cosine_rate, epoch_batches, num_batches, share


def test_every_image_once_an_epoch_and_no_tiny_batch():
    for count in (1, 10, 64, 65, 130):
        batches = epoch_batches(count, 64, seed=0, epoch=0)
        assert sorted(np.concatenate(batches)) == list(range(count))
        assert len(batches) == num_batches(count, 64) == math.ceil(count / 64)
        sizes = [len(batch) for batch in batches]
        assert max(sizes) <= 64 and max(sizes) - min(sizes) <= 1


def test_order_follows_seed_and_epoch():
    first = np.concatenate(epoch_batches(50, 8, seed=0, epoch=0))
    assert np.array_equal(first, np.concatenate(epoch_batches(50, 8, seed=0, epoch=0)))
    assert not np.array_equal(first, np.concatenate(epoch_batches(50, 8, seed=0, epoch=1)))
    assert not np.array_equal(first, np.concatenate(epoch_batches(50, 8, seed=1, epoch=0)))


def test_cosine_is_torchs():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert math.isclose(cosine_rate(0.3, step, 20), schedule.get_last_lr()[0], rel_tol=1e-6)
        optimizer.step()
        schedule.step()


def test_shares_are_the_batch():
    batch = np.arange(11)
    for count in (1, 2, 3, 16):
        parts = [share(batch, rank, count) for rank in range(count)]
        assert np.array_equal(np.concatenate(parts), batch)
