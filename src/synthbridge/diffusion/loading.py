"""Loading: a folder in diffusers' layout becomes a generator, without running its code."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError

from synthbridge.data.generator_folders import check_configs, check_weights
from synthbridge.diffusion.families import flux, flux2, sd3, sdxl, stable_diffusion, z_image
from synthbridge.diffusion.generator import Generator, Tokens

# The file of each family, by the class that model_index.json names.
MODULES = (stable_diffusion, sdxl, sd3, flux, flux2, z_image)
FAMILIES = {module.PIPELINE: module for module in MODULES}
FAMILIES["LatentConsistencyModelPipeline"] = stable_diffusion  # told the guidance scale


def load_generator(folder: Path) -> Generator:
    """Load a folder in diffusers' layout: float32, CPU, frozen.

    Raises:
        ValueError: if the folder is missing, of an unknown kind, damaged, or without safetensors.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name a generator's folder that is on disk")
    family = check_configs(folder, str(folder))
    check_weights(folder, family)
    try:
        return FAMILIES[family.pipeline].load(folder)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder} is damaged ({' '.join(str(error).split())}); fetch it again, with its "
            "large files and not pointers to them (git lfs pull)"
        ) from None


def load_reader(folder: Path) -> Callable[[Sequence[str]], Tokens]:
    """Load what reads prompts, and no weights.

    Returns:
        A function that does what the generator's `tokenize` does, its refusals included.

    Raises:
        ValueError: if the folder is of an unknown kind.
    """
    return FAMILIES[check_configs(folder, str(folder)).pipeline].load_reader(folder)
