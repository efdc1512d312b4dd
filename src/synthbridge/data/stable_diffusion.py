"""Which text-to-image folders we can draw with, told by their configurations alone.

Asked twice: before a hub's gigabytes are downloaded (upstream), and before any folder is loaded
(diffusion). Neither of the two may import the other.
"""

import json
from pathlib import Path
from typing import Any

PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
PIPELINE = "StableDiffusionPipeline"  # what Stable Diffusion 1.x and 2.x call themselves
CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
)
WEIGHTS = (
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
WAY_OUT = "choose a Stable Diffusion 1.x or 2.x that predicts the noise (1.5, 2.1-base)"


def check_configs(folder: Path, name: str) -> dict[str, Any]:
    """Refuse what is not Stable Diffusion 1.x or 2.x in diffusers' layout.

    Args:
        folder: holds the configurations of all parts; weights need not be there yet.
        name: what the user calls it, for the errors.

    Returns:
        The settings of the noise schedule.

    Raises:
        ValueError: a sentence that names what it is instead.
    """
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    missing = missing or [config for config in CONFIGS if not (folder / config).is_file()]
    if (folder / "model_index.json").is_file():  # first: other kinds have other parts
        kind = _read(folder, "model_index.json", name).get("_class_name")
        if kind != PIPELINE:
            raise ValueError(f"{name} is a {kind}, which is not supported; {WAY_OUT}")
    if missing:
        raise ValueError(
            f"{name} is no Stable Diffusion folder in diffusers' layout: it has no "
            f"{', '.join(missing)}; name the folder that holds {', '.join(PARTS)}"
        )
    taken = _read(folder, "unet/config.json", name).get("in_channels", 4)
    given = _read(folder, "vae/config.json", name).get("latent_channels", 4)
    if taken != given:
        raise ValueError(
            f"{name} draws from {taken} channels and its VAE gives {given}: it needs more than a "
            f"prompt (an image, a mask, a depth map), which is not supported; {WAY_OUT}"
        )
    schedule = _read(folder, "scheduler/scheduler_config.json", name)
    prediction = schedule.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise ValueError(f"{name} predicts {prediction}, not the noise (epsilon); {WAY_OUT}")
    return schedule


def _read(folder: Path, config: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads((folder / config).read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no text: a pointer of git lfs, say
        values = None
    if not isinstance(values, dict):
        raise ValueError(f"{config} of {name} is damaged; fetch it again") from None
    return values
