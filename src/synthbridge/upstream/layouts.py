"""What we take of a hub's repository, and what its configurations must say."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthbridge.data import generator_folders as folders


@dataclass(frozen=True)
class Layout:
    """The files of one kind of model; everything else in a repository stays where it is."""

    configs: tuple[str, ...]  # patterns of small text files, fetched and checked first
    # (folder with the configs, name) -> the names of the safetensors, of which the variants (fp16)
    # are not for training; raises ValueError if it is another kind of model.
    check: Callable[[Path, str], Sequence[str]]
    key: tuple[tuple[str, ...], tuple[str, ...]]  # goes into the name of the folder in `hub`


WEIGHTS = ("model.safetensors",)  # of a CLIP and of a backbone


def check_clip(folder: Path, name: str) -> Sequence[str]:
    """Refuse what is no CLIP of transformers, with its tokenizer and its image processor.

    Returns:
        The names of its weights.

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
    return WEIGHTS


def check_backbone(folder: Path, name: str) -> Sequence[str]:
    """Refuse what is no image classifier that timm knows, with its pixels' mean and deviation.

    Returns:
        The names of its weights.

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
    return WEIGHTS


def check_generator(folder: Path, name: str) -> Sequence[str]:
    """Refuse what is of no family that we draw with.

    Returns:
        The names of its weights, in pieces where they come so.

    Raises:
        ValueError: what it is instead, or lacks.
    """
    family = folders.check_configs(folder, name)
    return [piece for weights in family.weights for piece in folders.pieces(folder, weights)]


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{name} has no config.json; choose a repository that holds one model")
    return json.loads(path.read_text(encoding="utf-8"))


def _generator_configs() -> tuple[str, ...]:
    """List the small files of every family: which it is, its model_index.json says."""
    families = folders.FAMILIES.values()
    names = [name for f in families for name in (*f.configs, *f.optional, *f.indices)]
    return tuple(dict.fromkeys(names))


# The keys are of the first family: a model that lies in the work folder stays what it is as
# others are added. Change them if another file is taken of a family.
_FIRST = folders.STABLE_DIFFUSION
GENERATOR = Layout(
    _generator_configs(), check_generator, key=(_FIRST.configs + _FIRST.optional, _FIRST.weights)
)
_CLIP = ("config.json", "preprocessor_config.json", *folders.CLIP_TOKENIZER)
CLIP = Layout(_CLIP, check_clip, key=(_CLIP, WEIGHTS))
BACKBONE = Layout(("config.json",), check_backbone, key=(("config.json",), WEIGHTS))


def _beside_unet(weights: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in weights if not name.startswith("unet/"))


# Where a whole UNet of another repository takes the place of the model's own.
WITHOUT_UNET = replace(
    GENERATOR,
    check=lambda folder, name: _beside_unet(check_generator(folder, name)),
    key=(GENERATOR.key[0], _beside_unet(GENERATOR.key[1])),
)


def on_top(file: str) -> Layout:
    """Return the layout of weights that go on top of a generator: a file, perhaps with its config.

    Args:
        file: a safetensors of the repository.
    """
    config = (Path(file).parent / "config.json").as_posix()
    return Layout((config,), lambda *_: [file], key=((config,), (file,)))
