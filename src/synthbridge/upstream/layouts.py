"""What we take of a hub's repository, and what its configurations must say."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.data.stable_diffusion import CONFIGS, WEIGHTS, check_configs


@dataclass(frozen=True)
class Layout:
    """The files of one kind of model; everything else in a repository stays where it is."""

    configs: tuple[str, ...]  # patterns of small text files, fetched and checked first
    weights: tuple[str, ...]  # names of safetensors; the variants (fp16) are not for training
    check: Callable[[Path, str], object]  # (folder with the configs, name): raises ValueError


TOKENIZER = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


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


GENERATOR = Layout((*CONFIGS, *(f"tokenizer/{name}" for name in TOKENIZER)), WEIGHTS, check_configs)
CLIP = Layout(
    ("config.json", "preprocessor_config.json", *TOKENIZER), ("model.safetensors",), check_clip
)
BACKBONE = Layout(("config.json",), ("model.safetensors",), check_backbone)
