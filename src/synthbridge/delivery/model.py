"""A delivered model on disk: weights and config.json in the layout of the timm hub.

timm, and whoever reads its layout, finds the architecture, the class names and the preprocessing.
Two keys are ours: how far `prepare` reduced a large image before it was stored, and the weights of
all members where an ensemble was delivered. timm then finds one of them, the median.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
from timm.models import save_for_hf
from torch import nn

from synthbridge.core.files import read_json, write_json
from synthbridge.core.settings import Sections
from synthbridge.data.shards import Sample
from synthbridge.training.classifier import load_classifier
from synthbridge.training.crops import WholeView
from synthbridge.training.images import Normalisation, load_samples
from synthbridge.training.loop import predict
from synthbridge.training.recipe import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team

DELIVERED = Path("data/delivered")  # where dvc.yaml has `deliver` leave the models
CONFIG, WEIGHTS, MEMBERS = "config.json", "model.safetensors", "members"
# Of a backbone's configuration, what was true of its own test and is not of ours.
OTHER_TEST = ("test_input_size", "test_crop_pct", "test_pool_size", "label_offset")


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input in a test: what the pipeline does, in numbers."""

    image_size: int  # pixels: the square that the network sees
    resize_size: int  # pixels: the shorter side before the crop
    normalisation: Normalisation
    max_side: int | None  # pixels: `prepare` reduces a longer shorter side to it, before all else

    @property
    def crop_pct(self) -> float:
        """Return the ratio of both sizes, such that timm's floor(size / ratio) gives resize_size.

        256 and 224 do as they are; of others the rounded quotient may lie just below.
        """
        ratio = self.image_size / self.resize_size
        if math.floor(self.image_size / ratio) != self.resize_size:
            ratio = math.nextafter(ratio, 0)
        return ratio

    def recipe(self) -> Recipe:
        """Return what `predict` asks for: of the settings, those that a test looks at."""
        settings = TrainingSettings.model_construct(
            image_size=self.image_size, resize_size=self.resize_size
        )
        return Recipe(settings, self.normalisation, WholeView(self.image_size))


@dataclass(frozen=True)
class DeliveredModel:
    """A model that answers: its class probabilities are those of the pipeline's test."""

    members: Sequence[nn.Module]  # more than one: an ensemble
    class_names: tuple[str, ...]
    preprocessing: Preprocessing

    def classify(self, samples: Sequence[Sample], team: Team) -> np.ndarray:
        """Return the class probabilities of images that lie in shards: (N, C) float32."""
        images = load_samples(samples, self.preprocessing.resize_size, team.device)
        recipe = self.preprocessing.recipe()
        return average([predict(team.wrap(m), images, recipe, team) for m in self.members])


def average(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean (N, C) of what members answer; of one, its answers to the bit."""
    return np.mean(probabilities, axis=0)


def make_model(backbone: Path, num_classes: int) -> nn.Module:
    """Make a classifier of the backbone's architecture, for weights that `finetune` left."""
    return timm.create_model(f"local-dir:{backbone}", pretrained=False, num_classes=num_classes)


def write_model(
    folder: Path,
    model: nn.Module,
    weights: Path,
    *,
    members: Mapping[str, Path],
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    tag: str,
) -> None:
    """Write config.json and weights.

    Args:
        folder: what to write to.
        model: of the architecture.
        weights: the file that becomes model.safetensors, byte for byte.
        members: the files of an ensemble by name; none: `weights` answers alone.
        class_names: in the order of their indices.
        preprocessing: how an image becomes an input.
        tag: what timm calls this training of the architecture.
    """
    seen = preprocessing
    config: Any = model.pretrained_cfg
    model.pretrained_cfg = {k: v for k, v in config.items() if k not in OTHER_TEST}  # pyright: ignore
    save_for_hf(
        model,
        str(folder),
        model_config={
            "label_names": list(class_names),
            "max_side": seen.max_side,
            "members": [f"{MEMBERS}/{name}.safetensors" for name in members],
            "pretrained_cfg": {
                "tag": tag,
                "input_size": [3, seen.image_size, seen.image_size],
                "interpolation": "bicubic",
                "crop_pct": seen.crop_pct,
                "crop_mode": "center",
                "mean": list(seen.normalisation.mean),
                "std": list(seen.normalisation.std),
            },
        },
        safe_serialization=True,
    )
    write_json(folder / CONFIG, read_json(folder / CONFIG))  # with sorted keys
    (folder / WEIGHTS).unlink()  # timm's, with other bytes, and for its owner's eyes alone
    shutil.copyfile(weights, folder / WEIGHTS)
    for name, member in members.items():
        (folder / MEMBERS).mkdir(exist_ok=True)
        shutil.copyfile(member, folder / MEMBERS / f"{name}.safetensors")


def read_model(folder: Path) -> DeliveredModel:
    """Read a delivered folder.

    Raises:
        ValueError: if it is none.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        keys = ("pretrained_cfg", "label_names", "max_side", "members")
        cfg, class_names, max_side, members = (config[key] for key in keys)
        normalisation = Normalisation(tuple(cfg["mean"]), tuple(cfg["std"]))
        image_size = int(cfg["input_size"][-1])
        resize_size = math.floor(image_size / cfg["crop_pct"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder} holds no delivered model ({CONFIG} with its class names and preprocessing); "
            "make one with 'dvc repro deliver', or name another folder with --model"
        ) from None
    seen = Preprocessing(image_size, resize_size, normalisation, max_side)
    models = [_read_member(folder, folder / name) for name in members or [WEIGHTS]]
    return DeliveredModel(models, tuple(class_names), seen)


def _read_member(folder: Path, weights: Path) -> nn.Module:
    model = timm.create_model(f"local-dir:{folder}", pretrained=False)
    load_classifier(model, weights)
    return model


def delivered_folder(dataset: str) -> Path:
    """Return the folder of a data set's delivered model."""
    return DELIVERED / dataset


def only_dataset() -> str:
    """Return the only data set of params.yaml.

    Raises:
        ValueError: if there are several.
    """
    datasets = Sections().read(list[str], "datasets")
    if len(datasets) > 1:
        raise ValueError(f"params.yaml has the data sets {', '.join(datasets)}; say which one")
    return datasets[0]
