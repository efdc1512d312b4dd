"""The speeds of a classifier on this machine: training, judging, probing, reading its images."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from synthbridge.data.shards import encode_jpeg, index_shard, write_shard
from synthbridge.evidence.leep import leep
from synthbridge.evidence.logme import logme
from synthbridge.forecast.stopwatch import least_seconds, seconds_of_one, smooth_images
from synthbridge.params import Params
from synthbridge.training.classifier import load_backbone, save_classifier
from synthbridge.training.features import extract_features, fixed_feature_accuracies
from synthbridge.training.heads import HeadRecipe, fresh_head
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import Recipe, make_recipe
from synthbridge.training.team import Team

NUM_CLASSES, NUM_IMAGES = 10, 512


def measure_backbone(params: Params, folder: Path, team: Team) -> dict[str, float]:
    """Measure the classifier in `folder`.

    Returns:
        Seconds of each of `speeds.BACKBONE_KINDS`.
    """
    settings = params.training
    recipe = make_recipe(settings, folder, flip=True)
    pixels = torch.from_numpy(smooth_images(NUM_IMAGES, settings.resize_size))
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    images = ImageSet(
        pixels.permute(0, 3, 1, 2).contiguous().to(team.device), labels.to(team.device)
    )
    model = load_backbone(folder, num_classes=NUM_CLASSES, seed=0)
    few = max(1, settings.batch_size // 4)
    of_batch = {size: _seconds_of_step(model, images, recipe, team, size)
                for size in (few, settings.batch_size)}  # fmt: skip
    rows = max(1, settings.batch_size - few)
    row = max(0.0, (of_batch[settings.batch_size] - of_batch[few]) / rows)
    return {
        "training": _seconds_of_a_model(folder),
        "gradient_step": max(0.0, of_batch[few] - few * row),
        "trained_row": row,
        "predicted_row": least_seconds(lambda: predict(model, images, recipe, team)) / NUM_IMAGES,
        "probed_image": _seconds_of_probing(params, model, images, recipe, team),
        "read_image": _seconds_of_reading(params, team),
    }


def _seconds_of_step(
    model: nn.Module, images: ImageSet, recipe: Recipe, team: Team, batch: int
) -> float:
    recipe = replace(recipe, settings=recipe.settings.model_copy(update={"batch_size": batch}))

    def take(num_steps: int) -> object:
        leg = Leg(num_steps=num_steps, learning_rate=1e-4, seed=0)
        return train(model, images, recipe, leg, team)

    return seconds_of_one(take, 4, 12)[0]


def _seconds_of_a_model(folder: Path) -> float:
    """What every training takes beside its steps: a model is loaded, and one saved."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as name:
            model = load_backbone(folder, num_classes=NUM_CLASSES, seed=0)
            save_classifier(model, Path(name) / "model.safetensors")

    return least_seconds(run)


def _seconds_of_probing(
    params: Params, model: nn.Module, images: ImageSet, recipe: Recipe, team: Team
) -> float:
    """Return the seconds for an image of a data set, half of whose images are for training."""
    index = torch.arange(NUM_IMAGES // 2, device=team.device)
    half = ImageSet(images.at(index), images.labels[index])
    labels = half.labels.cpu().numpy()

    def run() -> None:
        table = extract_features(model, half, recipe)
        extract_features(model, half, recipe)  # the other half
        leep(predict(model, half, recipe, team), labels, NUM_CLASSES)
        logme(table.cpu().numpy(), labels, NUM_CLASSES)
        splits = ("train", "validation", "test")
        start = fresh_head(table.shape[1], NUM_CLASSES, 0).to(table.device)
        rates, num_epochs = params.real_leg.learning_rates, params.probe.num_epochs
        heads = HeadRecipe(recipe.settings, rates, num_epochs)
        for _ in range(2):  # a new head, and the model's own
            fixed_feature_accuracies(
                [dict.fromkeys(splits, table)],
                dict.fromkeys(splits, half.labels),
                [start],
                heads,
                seeds=[0],
            )

    return least_seconds(run, 1) / NUM_IMAGES


def _seconds_of_reading(params: Params, team: Team) -> float:
    """Return the seconds of one JPEG, from its shard to a square in memory."""
    images, size = smooth_images(128, params.training.resize_size), params.training.resize_size
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "shard.tar"
        write_shard(path, (
            {"__key__": f"{index:05d}", "jpg": encode_jpeg(image, 95), "cls": 0, "json": {}}
            for index, image in enumerate(images)
        ))  # fmt: skip
        samples = index_shard(path)
        return least_seconds(lambda: load_samples(samples, size, team.device)) / len(images)
