"""What one of two real processes does in test_team.py: `torchrun two_processes.py BACKBONE OUT`."""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from timm import create_model

from quarters import make_images, training_settings
from synthbridge.training.classifier import load_backbone, save_classifier, seeded
from synthbridge.training.crops import Augmentation
from synthbridge.training.images import Normalisation
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.mixture import Mixture
from synthbridge.training.recipe import Recipe
from synthbridge.training.team import form_team


def main(backbone: Path, out: Path) -> None:
    """Train with mixup and, anew, with norms apart: 13 images in batches of at most 5."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    team = form_team(accelerator, num_runs=1)
    settings = training_settings(batch_size=5)
    recipe = Recipe(settings, Normalisation((0.5,) * 3, (0.25,) * 3), Augmentation(0.8, 1.1, False))
    model = load_backbone(backbone, num_classes=4, seed=0)
    images = make_images(13)
    leg = Leg(num_steps=6, learning_rate=0.005, seed=2, mixup=0.2)
    curve = train(model, images, recipe, leg, team)
    mixed = load_backbone(backbone, num_classes=4, seed=0)
    # Two real images of 13: batches, and parts of a process, without one or with a single one.
    mixture = Mixture(num_real=2, synthetic_weight=0.5, auxiliary_norm=True)
    leg = Leg(num_steps=3, learning_rate=0.005, seed=1, mixture=mixture)
    train(mixed, images, recipe, leg, team)
    with seeded(0):
        vit = create_model("test_vit", num_classes=4, img_size=16, patch_size=4)
    train(vit, images, recipe, leg, team)
    probabilities = predict(model, images, recipe, team)
    if team.rank == 0:
        (out / "size").write_text(f"{team.size}")
        (out / "curve").write_text(" ".join(f"{loss:.5f}" for loss in curve.train_loss))
        torch.save(torch.from_numpy(probabilities), out / "probabilities.pt")
        save_classifier(model, out / "model.safetensors")
        save_classifier(mixed, out / "mixed.safetensors")
        save_classifier(vit, out / "vit.safetensors")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
