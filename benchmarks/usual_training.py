"""Training as torch's users write it: their loop, and torchvision's ImageFolder with PIL."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import measure  # noqa: F401  (puts the package on the path)
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from synthbridge.training.recipe import Recipe
from synthbridge.training.team import Team


def write_folder(folder: Path, num_images: int, size: int, grain: int) -> None:
    """Write JPEGs of random blobs, `grain` a side, in ten class folders."""
    rng = np.random.default_rng(0)
    for index in range(num_images):
        small = rng.integers(0, 255, (grain, grain, 3), dtype=np.uint8)
        path = folder / f"{index % 10}" / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        large = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        large.save(path, quality=95)


def load_folder(folder: Path, recipe: Recipe, num_workers: int) -> DataLoader:
    """Make torchvision's loader of `folder`, shuffled, with the crops of `recipe`, mirrored too."""
    settings, (mean, std) = recipe.settings, (recipe.normalisation.mean, recipe.normalisation.std)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                settings.image_size,
                scale=(settings.min_crop_area, 1.0),
                ratio=(1 / settings.max_stretch, settings.max_stretch),
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    return DataLoader(
        ImageFolder(str(folder), transform),
        settings.batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def epochs_of(loader: DataLoader, num_steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `num_steps` batches, epoch after epoch."""
    step = 0
    while step < num_steps:
        for batch in loader:
            yield batch
            step += 1
            if step == num_steps:
                return


def train_plainly(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, rate: float, team: Team
) -> None:
    """Take a step a batch: channels last, the team's autocast, fused SGD at a constant rate."""
    model.to(team.device, memory_format=torch.channels_last)  # pyright: ignore
    optimizer = torch.optim.SGD(
        model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, fused=True
    )
    model.train()
    for inputs, labels in batches:
        inputs = inputs.to(team.device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(team.device, non_blocking=True)
        with team.accelerator.autocast():
            logits = model(inputs)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
