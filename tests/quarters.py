"""Images that anything can learn: their class is a bright quarter. And a small world of them."""

import numpy as np
import timm
import torch
from timm.models import save_for_hf

from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.training.classifier import seeded
from synthbridge.training.images import ImageSet
from synthbridge.training.settings import TrainingSettings

CLASS_NAMES = ["one", "two", "three", "four"]
SYNTHETIC_SHIFT = 40  # grey levels, to tell the means of real and synthetic images apart


def make_images(count, num_classes=4, seed=0):
    """Make (count, 3, 16, 16) images of up to four classes, each equally often."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    pixels = rng.integers(0, 90, (count, 3, 16, 16))
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(label, 2)
        image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 140
    return ImageSet(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))


def write_images(path, images, groups=None):
    """Write images as a shard, named by its stem and their number."""
    samples = [
        {
            "__key__": f"{path.stem}{index}",
            "png": encode_png(image.permute(1, 2, 0).numpy()),
            "cls": int(label),
            "json": {"name": f"{path.stem}{index}"} | ({"group": groups[index]} if groups else {}),
        }
        for index, (image, label) in enumerate(zip(images.images, images.labels, strict=True))
    ]
    write_shard(path, samples)


def write_dataset(folder, splits, *, flip=False, rankings=()):
    """Write what `prepare` writes: `splits` are images by the split's name."""
    for split, images in splits.items():
        write_images(folder / f"{split}-00000.tar", images)
    facts = {
        "class_names": CLASS_NAMES,
        "image_size": 16,
        "flip": flip,
        "counts": {split: len(images) for split, images in splits.items()},
    }
    write_json(folder / "dataset.json", facts)
    write_json(folder / "few_shot.json", list(rankings))


def write_backbone(folder, seed=0):
    """Write a tiny classifier of five classes, with weights drawn from `seed`."""
    with seeded(seed):
        model = timm.create_model("test_resnet", num_classes=5)
    config = {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": 5, "input_size": [3, 16, 16]}
    save_for_hf(
        model, str(folder), model_config={"pretrained_cfg": config}, safe_serialization=True
    )
    return folder


def training_settings(**changes):
    """Return settings for these images: small batches, mild crops."""
    values = {
        "batch_size": 8,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "image_size": 16,
        "resize_size": 16,
        "min_crop_area": 0.8,
        "max_stretch": 1.1,
        "augment": True,
        "normalisation": "backbone",
        "start": "backbone",
        "frozen_norm": "eval",
    }
    return TrainingSettings(**{**values, **changes})


def make_source(source, count, seed):
    """Make real or synthetic images, which differ in their means."""
    images = make_images(count, seed=seed)
    shift = SYNTHETIC_SHIFT if source == "synthetic" else 0
    return ImageSet(images.images.clamp(max=200) + shift, images.labels)


def source_mean(source, count, seed, rows=slice(None)):
    """Return the mean of each channel over such images, in units of pixel value / 255."""
    return make_source(source, count, seed).images[rows].numpy().mean((0, 2, 3)) / 255


def write_world(root):
    """Write a backbone, a data set of eight training images with rankings, and a synthetic set."""
    splits = {
        split: make_source("real", count, seed=len(split))
        for split, count in (("train", 8), ("validation", 4), ("test", 4))
    }
    ranking = [[f"train-00000{label}", f"train-00000{label + 4}"] for label in range(4)]
    write_dataset(root / "real", splits, flip=True, rankings=[ranking])
    write_images(root / "set/b0/all-00000.tar", make_source("synthetic", 12, seed=1))
    write_backbone(root / "backbone", seed=7)
    rate = {"learning_rate": 0.01, "held_out_accuracy": {}}
    write_json(root / "rates.json", {str(shots): rate for shots in (1, 2, "full")})
    return root
