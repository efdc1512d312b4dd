"""Linear heads on frozen features: five rates and three seeds at once, or one after another.

    python benchmarks/heads.py               needs nothing

S1  fifteen heads trained together / one after another: same features, starts, batches, steps and
    dtype. The baseline is the faster of two: our own loop with one head at a time, and torch's
    Linear, autograd and fused SGD on features that lie in memory. Both must lead to the same heads.
    CPU: features as the miniature's (96 wide, 748 images, 10 classes). GPU: as ResNet-18's of
    Flowers-102 (512 wide, 1,836 images, 102 classes), float32.
"""

import time
from dataclasses import dataclass

import measure
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synthbridge.training.heads import HeadRecipe, fresh_head, train_heads
from synthbridge.training.loop import steps
from synthbridge.training.schedule import cosine_rate, num_batches
from synthbridge.training.settings import TrainingSettings

RATES, SEEDS, BATCH = (0.1, 0.03, 0.01, 0.003, 0.001), (0, 1, 2), 64
SETTINGS = TrainingSettings.model_construct(batch_size=BATCH, momentum=0.9, weight_decay=5e-4)


@dataclass(frozen=True)
class Scale:
    """How large the job is."""

    num_images: int
    width: int
    num_classes: int
    num_epochs: int


CPU, GPU = Scale(748, 96, 10, 20), Scale(1836, 512, 102, 50)


class Job:
    """Fifteen heads on the same features."""

    def __init__(self, scale: Scale, device: torch.device):
        """Draw features that say something of the class, and the heads that all arms start from."""
        rng = np.random.default_rng(0)
        labels = np.arange(scale.num_images) % scale.num_classes
        centres = rng.normal(0, 1, (scale.num_classes, scale.width))
        features = centres[labels] + rng.normal(0, 1, (scale.num_images, scale.width))
        self.scale = scale
        self.features = torch.tensor(features, dtype=torch.float32, device=device)
        self.labels = torch.tensor(labels, device=device)
        self.starts = [
            fresh_head(scale.width, scale.num_classes, seed).to(device) for seed in SEEDS
        ]

    def stacked(self) -> Tensor:
        """Train all of them together: (seeds, rates, C, D + 1)."""
        return self._train(range(len(SEEDS)), RATES)

    def alone(self) -> Tensor:
        """Train them with the same loop, one after another."""
        return torch.stack(
            [
                torch.cat([self._train([run], [rate])[0] for rate in RATES])
                for run in range(len(SEEDS))
            ]
        )

    def usual(self) -> Tensor:
        """Train them one after another with torch's own layer, gradients and optimiser."""
        return torch.stack(
            [
                torch.stack([self._train_layer(run, rate) for rate in RATES])
                for run in range(len(SEEDS))
            ]
        )

    def _train(self, runs, rates) -> Tensor:
        features, starts = [self.features for _ in runs], [self.starts[run] for run in runs]
        recipe = HeadRecipe(SETTINGS, rates, self.scale.num_epochs)
        return train_heads(features, self.labels, starts, recipe, [SEEDS[run] for run in runs])

    def _train_layer(self, run: int, rate: float) -> Tensor:
        start = self.starts[run]
        layer = nn.Linear(self.scale.width, self.scale.num_classes, device=start.device)
        with torch.no_grad():
            layer.weight.copy_(start[:, :-1])
            layer.bias.copy_(start[:, -1])
        optimizer = torch.optim.SGD(
            layer.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, fused=True
        )
        count = self.scale.num_epochs * num_batches(len(self.labels), BATCH)
        for step, (batch, _) in enumerate(steps(len(self.labels), BATCH, SEEDS[run], count)):
            rows = torch.from_numpy(batch).to(start.device)
            cross_entropy(layer(self.features[rows]), self.labels[rows]).backward()
            optimizer.param_groups[0]["lr"] = cosine_rate(rate, step, count)
            optimizer.step()
            optimizer.zero_grad()
        return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    is_gpu = torch.cuda.is_available()
    job = Job(GPU if is_gpu else CPU, torch.device("cuda" if is_gpu else "cpu"))
    arms = {"stacked": job.stacked, "alone": job.alone, "usual": job.usual}
    heads = {name: train() for name, train in arms.items()}
    difference = max(
        float((heads["stacked"] - heads[name]).abs().max()) for name in ("alone", "usual")
    )
    assert difference < 1e-3, f"the arms lead to other heads: {difference}"
    clock = time.perf_counter if is_gpu else time.process_time
    seconds = measure.take_turns(arms, rounds=rounds, clock=clock)
    row = {
        "what": "15 linear heads at once / one after another",
        "ratio": min(seconds["alone"], seconds["usual"]) / seconds["stacked"],
        "wanted": 8.0 if is_gpu else 1.2,
        "seconds": seconds,
        "largest_difference_of_a_weight": difference,
    }
    measure.save_ratios("heads", {"S1": row})


if __name__ == "__main__":
    main()
