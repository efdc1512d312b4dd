"""A backbone that is given and not trained here: its name in timm, its repository, its file.

A local safetensors file is put into timm's layout, as a hub's model would be.
"""

from pathlib import Path

import timm
from safetensors import SafetensorError
from timm.models import get_pretrained_cfg, save_for_hf

from synthbridge.core.files import hash_file
from synthbridge.core.keys import unit_key
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.upstream.settings import BackboneFile


def check_model(model: str, *, key: str = "model") -> None:
    """Refuse the name of a model that timm does not have; `key` is where params.yaml says it.

    Raises:
        ValueError: if timm has no such model.
    """
    if not timm.is_model(model):
        raise ValueError(
            f"params.yaml: upstream.backbone.{key} is '{model}', which timm does not have; "
            "choose one that timm.list_models() names"
        )


def hub_repository(name: str) -> str:
    """Return the hub repository (owner/name) of a timm name with its weights' tag.

    Raises:
        ValueError: if timm has no such model, or knows no weights of that tag on the hub.
    """
    if "/" in name:
        return name
    model, _, tag = name.partition(".")
    check_model(model, key="hub")
    tags = {full.partition(".")[2]: full for full in timm.list_pretrained(f"{model}.*")}
    found = get_pretrained_cfg(tags[tag]) if tag in tags else None
    if not found or not found.hf_hub_id:
        raise ValueError(
            f"params.yaml: upstream.backbone.hub is '{name}', and timm knows no such weights of "
            f"{model} on the hub; choose from {', '.join(sorted(tags)) or 'another model'}"
        )
    return found.hf_hub_id


def store_file(settings: BackboneFile) -> Path:
    """Write config.json and model.safetensors of a local file to the work folder; returns where.

    Raises:
        ValueError: if the file is missing, no safetensors, not the one that `sha256` says, or
            does not fit the model.
    """
    where, path = "upstream.backbone.file", Path(settings.file)
    check_model(settings.model)
    place = unit_path(
        "hub", unit_key(make=_write_model, file=settings.model_dump(exclude={"file"}))
    )
    if place.is_dir():
        return place  # also where the file itself has gone
    if not path.is_file():
        raise ValueError(
            f"params.yaml: {where} is '{path}', which is not there; give the path from the root "
            "of the repository, or take the model from your team's remote with 'dvc pull'"
        )
    if path.suffix != ".safetensors":
        raise ValueError(
            f"params.yaml: {where} is '{path}', and other weights can run code when read; convert "
            "it once, where you trust it, with safetensors.torch.save_file"
        )
    found = hash_file(path)
    if settings.sha256 is None:
        raise ValueError(
            f"params.yaml: upstream.backbone.sha256 is missing; to pin {path} add 'sha256: {found}'"
        )
    if settings.sha256 != found:
        raise ValueError(
            f"params.yaml: upstream.backbone.sha256 is {settings.sha256}, but {path} is another "
            f"file; if it is the one you want, write 'sha256: {found}'"
        )
    with whole_unit(place) as folder:
        _write_model(settings, folder)
    return place


def _write_model(settings: BackboneFile, folder: Path) -> None:
    overlay = {
        "file": settings.file,
        "mean": tuple(settings.mean),
        "std": tuple(settings.std),
        "input_size": (3, settings.input_size, settings.input_size),
        "num_classes": settings.num_classes,
        "tag": "file",
        "pool_size": None,
        "custom_load": False,  # of the architecture's own release, in another format
    }
    try:
        model = timm.create_model(
            settings.model,
            pretrained=True,
            num_classes=settings.num_classes,
            pretrained_cfg_overlay=overlay,
            **settings.model_args,  # pyright: ignore
        )
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"upstream.backbone: {settings.file} does not fit timm's {settings.model} with "
            f"{settings.num_classes} classes ({' '.join(str(error).split())[:300]}); correct "
            "model, num_classes or model_args"
        ) from None
    save_for_hf(model, str(folder), model_args=dict(settings.model_args), safe_serialization=True)
