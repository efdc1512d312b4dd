"""A backbone from a local safetensors file: put into timm's layout, as a hub's would be."""

from pathlib import Path

import timm
from safetensors import SafetensorError
from timm.models import save_for_hf

from synthbridge.core.files import hash_file
from synthbridge.core.keys import unit_key
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.upstream.backbone import check_model
from synthbridge.upstream.settings import BackboneFile


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
        "file": settings.file, "mean": tuple(settings.mean), "std": tuple(settings.std),
        "input_size": (3, settings.input_size, settings.input_size),
        "num_classes": settings.num_classes, "tag": "file", "pool_size": None,
        "custom_load": False,  # of the architecture's own release, in another format
    }  # fmt: skip
    try:
        model = timm.create_model(
            settings.model, pretrained=True, num_classes=settings.num_classes,
            pretrained_cfg_overlay=overlay, **settings.model_args,  # pyright: ignore
        )  # fmt: skip
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"upstream.backbone: {settings.file} does not fit timm's {settings.model} with "
            f"{settings.num_classes} classes ({' '.join(str(error).split())[:300]}); correct "
            "model, num_classes or model_args"
        ) from None
    save_for_hf(model, str(folder), model_args=dict(settings.model_args), safe_serialization=True)
