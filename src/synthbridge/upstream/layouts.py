"""What we take of a hub's repository, and what its configurations must say."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbridge.data.generator_folders import (
    CLIP_TOKENIZER,
    FAMILIES,
    check_configs,
    pieces,
)


@dataclass(frozen=True)
class Layout:
    """The files of one kind of model; everything else in a repository stays where it is."""

    name: str  # two layouts of one name take the same files of a repository
    configs: tuple[str, ...]  # names of small text files, fetched and checked first
    # Names of safetensors, by the folder with the configs; the variants (fp16) are not for training.
    weights: Callable[[Path], Sequence[str]]
    check: Callable[[Path, str], object]  # (folder with the configs, name): raises ValueError


def check_clip(folder: Path, name: str) -> None:
    """Refuse what is no CLIP of transformers, with its tokenizer and its image processor.

    Raises:
        ValueError: what it is instead, or lacks.
    """
    kind = _read_config(folder, name).get("model_type")
    if kind != "clip":
        raise ValueError(
            f"{name} is a {kind or 'model of another library'}; choose a CLIP in transformers' "
            "layout (openai/clip-vit-large-patch14)"
        )
    tokenizer = (folder / "tokenizer.json").is_file() or (folder / "merges.txt").is_file()
    if not tokenizer or not (folder / "preprocessor_config.json").is_file():
        lacks = "preprocessor_config.json" if tokenizer else "tokenizer"
        raise ValueError(f"{name} has no {lacks}; choose a CLIP that has one")


def check_backbone(folder: Path, name: str) -> None:
    """Refuse what is no image classifier that timm knows, with its pixels' mean and deviation.

    Raises:
        ValueError: what it is instead, or lacks.
    """
    import timm

    config = _read_config(folder, name)
    architecture = config.get("architecture")
    if not architecture:
        raise ValueError(
            f"{name} is a {config.get('model_type') or 'model of another library'}, no timm "
            "model; choose one of timm's repositories (timm/resnet50.a1_in1k)"
        )
    if not timm.is_model(architecture):
        raise ValueError(
            f"{name} is a {architecture}, which timm {timm.__version__} does not have; choose a "
            "model that timm.list_models() names, or install a newer timm"
        )
    known = config.get("pretrained_cfg") or {}
    if len(known.get("mean", ())) != 3 or len(known.get("std", ())) != 3:
        raise ValueError(
            f"{name} does not say the mean and deviation of its pixels (pretrained_cfg in its "
            "config.json); load it and save it once with timm.models.save_for_hf"
        )


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{name} has no config.json; choose a repository that holds one model")
    return json.loads(path.read_text(encoding="utf-8"))


def _generator_weights(folder: Path) -> list[str]:
    """List the files that hold a generator's weights, whole or in pieces."""
    family = check_configs(folder, str(folder))
    return [piece for weights in family.weights for piece in pieces(folder, weights)]


def _weights_beside_unet(folder: Path) -> list[str]:
    return [name for name in _generator_weights(folder) if not name.startswith("unet/")]


def _generator_configs() -> tuple[str, ...]:
    """Name the small files of all families: which one it is, they say themselves."""
    names = (
        name
        for family in FAMILIES.values()
        for name in (*family.configs, *family.optional, *family.indices)
    )
    return tuple(dict.fromkeys(names))


def on_top(file: str) -> Layout:
    """Return the layout of weights that go on top of a generator: a file, perhaps with its config.

    Args:
        file: a safetensors of the repository.
    """
    config = (Path(file).parent / "config.json").as_posix()
    return Layout(f"weights {file}", (config,), lambda _: [file], lambda *_: None)


GENERATOR = Layout("generator", _generator_configs(), _generator_weights, check_configs)
# Where a whole UNet of another repository takes the place of the model's own.
WITHOUT_UNET = replace(GENERATOR, name="generator without UNet", weights=_weights_beside_unet)
_ONE_FILE = ("model.safetensors",)
CLIP = Layout(
    "clip",
    ("config.json", "preprocessor_config.json", *CLIP_TOKENIZER),
    lambda _: _ONE_FILE,
    check_clip,
)
BACKBONE = Layout("backbone", ("config.json",), lambda _: _ONE_FILE, check_backbone)
