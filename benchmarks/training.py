"""Training: our loop with its loader, and the loader beside the usual one.

    python benchmarks/training.py            on a CPU: run `dvc repro prepare upstream` first

T1  steps a second of the training loop with the real loader / of the same loop on one fixed batch;
    both shuffle the images, and neither loads the model.
T2  samples a second and core, our loader / torchvision's ImageFolder with PIL: random resized crop
    to the same size, tensor, normalisation; loaders alone, one process each.

That is the miniature, a CPU's scale. Full, a GPU's (training_full.py): T1 for ResNet-18, ResNet-50,
ViT-B/16 and ViT-L/16 with random weights at 224 pixels, 60 steps at the paper's batch of 64; T2 end
to end with ResNet-18 at batch 256, 30 epochs of 1,024 JPEGs of 512 x 512, ImageFolder with a worker
a core. It needs 20 GB of GPU memory and 2 GB of disk, and two to three minutes on an H200.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
import training_full
from accelerate import Accelerator
from fixed_batch import one_fixed_batch
from PIL import Image
from usual_training import load_folder, write_folder

from synthbridge.training.classifier import load_backbone
from synthbridge.training.crops import Augmentation
from synthbridge.training.images import ImageSet, Normalisation, load_images
from synthbridge.training.loop import Leg, draw_inputs, draw_step, train
from synthbridge.training.recipe import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team

BACKBONE = Path("data/upstream/backbone")
STEPS, BATCH, SIZE, RATE = 40, 64, 24, 0.01
NUM_IMAGES, STORED_SIZE = 1280, 32
SETTINGS = TrainingSettings(
    batch_size=BATCH,
    momentum=0.9,
    weight_decay=5e-4,
    image_size=SIZE,
    resize_size=STORED_SIZE,
    min_crop_area=0.6,
    max_stretch=1.2,
    augment=True,
    normalisation="backbone",
    start="backbone",
    frozen_norm="eval",
)
MEAN = STD = (0.5, 0.5, 0.5)


def read_file(path: Path, size: int) -> np.ndarray:
    """Decode one image (size, size, 3)."""
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape == (size, size, 3)
    return image


def load_an_epoch(images: ImageSet, recipe: Recipe, team: Team) -> None:
    """Make every batch of an epoch with our loader."""
    rng = np.random.default_rng(0)
    order = rng.permutation(NUM_IMAGES)
    for start in range(0, NUM_IMAGES, BATCH):
        drawn = draw_step(images, order[start : start + BATCH], recipe, rng)
        draw_inputs(images, drawn, recipe, mixup=0.0, team=team)


def main() -> None:
    """Measure, print and save."""
    args = measure.read_arguments(__doc__, has_scales=True)
    if args.scale == "full":
        return training_full.measure_and_save(args)
    team = Team(Accelerator(cpu=not torch.cuda.is_available()), rank=0, size=1)
    recipe = Recipe(SETTINGS, Normalisation(MEAN, STD), Augmentation(0.6, 1.2, flip=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folder(folder, NUM_IMAGES, STORED_SIZE, grain=8)
        files = sorted(folder.glob("*/*.jpg"))
        labels = [int(file.parent.name) for file in files]
        images = load_images(
            files, labels, read_file, size=STORED_SIZE, device=team.device, memory_limit=2**30
        )
        usual = load_folder(folder, recipe, num_workers=0)
        drawn = draw_step(images, np.arange(BATCH), recipe, np.random.default_rng(0))
        batch, targets, *_ = draw_inputs(images, drawn, recipe, mixup=0.0, team=team)

        model = load_backbone(BACKBONE, num_classes=10, seed=0)
        start = copy.deepcopy(model.state_dict())

        def run() -> None:
            model.load_state_dict(start)  # a fitted model's tiny gradients would take other times
            leg = Leg(num_steps=STEPS, learning_rate=RATE, seed=0)
            train(model, images, recipe, leg, team)

        def run_on_one_batch() -> None:
            with one_fixed_batch(batch, targets):
                run()

        loops: dict[str, Any] = {"loop": run, "fixed": run_on_one_batch}
        loaders: dict[str, Any] = {
            "loader": lambda: load_an_epoch(images, recipe, team),
            "usual": lambda: list(usual),
        }
        # A few per cent in hundredths: the loops need more turns than the loaders.
        loop_seconds = measure.take_turns(loops, rounds=args.rounds or 25)
        loader_seconds = measure.take_turns(loaders, rounds=args.rounds or 5)
    loop = training_full.compare(
        "training with the loader / on one fixed batch",
        loop_seconds,
        STEPS * BATCH,
        ("loop", "fixed"),
        0.95,
    )
    loader = training_full.compare(
        "our loader / ImageFolder with PIL, a core",
        loader_seconds,
        NUM_IMAGES,
        ("loader", "usual"),
        4.0,
    )
    rows = {"T1": loop, "T2": loader}
    measure.save_ratios(measure.result_name("training", args.scale), rows)


if __name__ == "__main__":
    main()
