"""The classifier: a timm model from a local folder, its units, its head, its checkpoints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from timm.models import group_parameters
from torch import Tensor, nn

from synthbridge.core.files import write_bytes
from synthbridge.training.images import Normalisation


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw what torch draws inside (a head's weights) from `seed`, and restore its generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def load_backbone(
    folder: Path,
    *,
    num_classes: int | None,
    seed: int,
    start: Literal["backbone", "random"] = "backbone",
) -> nn.Module:
    """Load a pretrained timm model from `folder` (config.json, model.safetensors).

    Args:
        folder: a model in the layout of the timm hub.
        num_classes: size of the fresh head; None keeps the pretrained head.
        seed: draws the fresh head, as `renew_head` does: what timm draws for a new MobileNet is
            meant for training from nothing, ten times larger, and drowns 20 images a class.
        start: random keeps the architecture alone and draws all weights, as timm does for
            training from nothing, from `seed`.

    Raises:
        ValueError: if the folder is no such model or the weights do not fit.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"{folder} is no timm model (config.json and model.safetensors); "
            "run 'dvc repro upstream' or save one with timm.models.save_for_hf"
        )
    with seeded(seed):  # timm draws weights before it loads them
        model = timm.create_model(f"local-dir:{folder}", pretrained=start == "backbone")
    if num_classes is not None:
        renew_head(model, num_classes, seed)
    return model


def read_normalisation(folder: Path) -> Normalisation:
    """Read the statistics that the pretrained model was trained with."""
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    return Normalisation(mean=tuple(config["mean"]), std=tuple(config["std"]))


def renew_head(model: nn.Module, num_classes: int, seed: int) -> None:
    """FC reinit (Bridged, section 4.1): give `model` a head drawn as torch draws a Linear's."""
    with seeded(seed):
        model.reset_classifier(num_classes)  # pyright: ignore[reportCallIssue]


def unit_names(model: nn.Module) -> list[list[str]]:
    """List the units of a timm model, from input to head, as names of their parameters.

    They are timm's own layer groups: what comes before the blocks (stem or embedding), each
    block, and the head with what stands between it and the last block where timm counts it so.
    A ResNet-50 has 18 (Gap, by our count), a ResNet-18 has 10, a ViT-B/16 has 14.
    """
    matcher = model.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]
    groups = group_parameters(model, matcher)
    return [list(groups[key]) for key in sorted(groups)]


def renew_units(model: nn.Module, fresh: nn.Module, num_units: int) -> None:
    """Give all units of `model` but the first `num_units` the weights and statistics of `fresh`."""
    kept = {name for unit in unit_names(model)[:num_units] for name in unit}
    # Running statistics have no unit of their own: they go with the weights beside them.
    layers = {name.rpartition(".")[0] for name in kept}
    parameters, drawn = dict(model.named_parameters()), fresh.state_dict()
    for name, tensor in model.state_dict().items():
        is_kept = name in kept if name in parameters else name.rpartition(".")[0] in layers
        if not is_kept:
            tensor.copy_(drawn[name])


def freeze_units(model: nn.Module, num_units: int, setting: str = "frozen_units") -> None:
    """Keep the weights of the first `num_units` units as they are; all others train.

    Args:
        model: a timm model.
        num_units: from the input on.
        setting: what says so, for the sentence that refuses it.

    Raises:
        ValueError: if the model has no unit left to train.
    """
    units = unit_names(model)
    if num_units >= len(units):
        raise ValueError(
            f"{setting} is {num_units}, but the model has {len(units)} units and one must "
            f"train; choose at most {len(units) - 1}"
        )
    frozen = {name for unit in units[:num_units] for name in unit}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)


def set_train_mode(model: nn.Module, frozen_norm: Literal["eval", "train"] = "eval") -> None:
    """Put `model` in train mode, but modules whose own parameters are frozen in eval mode.

    With `frozen_norm` train they are in train mode too: a frozen batch norm then normalises with
    the batch's statistics and its running ones follow, while weight and bias stay.
    """
    model.train()
    if frozen_norm == "train":
        return
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def save_classifier(model: nn.Module, path: Path) -> None:
    """Save the weights as safetensors, whole or not at all."""
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    write_bytes(path, save(weights))  # save_file hides that a disk is full behind its own error


def load_classifier(model: nn.Module, path: Path) -> None:
    """Load weights that `save_classifier` wrote into `model`.

    Raises:
        ValueError: if the file is not whole or does not fit the model.
    """
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no whole checkpoint ({error}); run 'dvc repro'") from None
    if misfit := _misfit(model.state_dict(), weights):
        raise ValueError(f"{path} does not fit the model: {misfit}; run 'dvc repro' to train anew")
    model.load_state_dict(weights)


def _misfit(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    """Say what first differs between the names and shapes of two sets of weights."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            return f"'{name}' is {'missing' if name in expected else 'not part of it'}"
        if expected[name].shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
            return f"'{name}' has shape {shapes}"
    return None
