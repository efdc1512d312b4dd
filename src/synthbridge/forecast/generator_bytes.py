"""What a generator takes on the disk that speeds.yaml does not know, told by its own files."""

from pathlib import Path

from safetensors import safe_open

from synthbridge.data.generator_folders import check_configs, pieces, read_config
from synthbridge.diffusion.lora import ENDINGS
from synthbridge.forecast.memory import image_size

PHOTOGRAPH = 1.5e5  # bytes; rough: of 500 pixels a side
JPEG_PER_PIXEL = 0.38  # bytes; rough: at quality 95


def generator_bytes(folder: Path) -> dict[str, float]:
    """Return the bytes of each kind that a generator decides, as speeds.yaml has them."""
    size = image_size(folder, read_config(folder, "vae/config.json"))
    return {
        "generator": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "real_image": PHOTOGRAPH,
        "synthetic_image": JPEG_PER_PIXEL * size**2,
        "lora_rank": 4 * _count_lora_rows(folder),  # float32
    }


def _count_lora_rows(folder: Path) -> int:
    """Sum what goes into each projection of the denoiser's attention and what comes out."""
    family = check_configs(folder, str(folder))
    weights = next(name for name in family.weights if name.startswith(("unet/", "transformer/")))
    count = 0
    for piece in pieces(folder, weights):
        with safe_open(folder / piece, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in list(file.keys())}
        count += sum(
            sum(shape)
            for name, shape in shapes.items()
            if name.endswith(tuple(f"{ending}.weight" for ending in ENDINGS)) and len(shape) == 2
        )
    return count
