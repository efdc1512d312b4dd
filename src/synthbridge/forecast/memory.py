"""What memory a generator takes on a device, told by its files before any weight is loaded.

Weights are counted from the heads of the safetensors. What lies beside them is counted on every
family at full size by `benchmarks/counting.py`.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open

from synthbridge.data.generator_folders import check_configs, pieces, read_config
from synthbridge.diffusion.memory import (
    AT_ONCE,
    MAX_PIXELS_DECODED,
    SPARE,
    at_once,
    decoding_bytes,
    fastest_dtype,
    free_bytes,
)

# Values alive for each pixel of an image in a step that learns.
VALUES_LEARNED = {"StableDiffusionXLPipeline": 2500}
VALUES_LEARNED_ELSE = 1500


@dataclass(frozen=True)
class Needs:
    """Bytes that a generator takes on a device."""

    text: int  # weights of the text encoders
    rest: int  # weights of the denoiser and the VAE
    decoding: int  # beside them, for each image that is decoded at once
    learning: int  # beside them, for each image of a step that learns
    num_decoded: int  # images decoded at once
    dtype: torch.dtype  # of the denoiser and the VAE

    def drawing(self, num_decoded: int | None = None) -> int:
        """Return the bytes of drawing with all weights on the device."""
        decoding = self.decoding * (num_decoded or self.num_decoded)
        return round(SPARE * (self.text + self.rest + decoding))

    def drawing_in_turns(self, num_decoded: int | None = None) -> int:
        """Return the bytes of drawing where text encoders and the rest lie there in turns."""
        decoding = self.decoding * (num_decoded or self.num_decoded)
        return round(SPARE * max(self.text, self.rest + decoding))

    def inverting(self, batch_size: int) -> int:
        """Return the bytes of learning from `batch_size` images a step."""
        return round(SPARE * (self.text + self.rest + self.learning * batch_size))


def read_needs(folder: Path, dtype: torch.dtype) -> Needs:
    """Read what a folder in diffusers' layout takes, its denoiser and VAE in `dtype`."""
    family = check_configs(folder, str(folder))
    counts = {weights: _count_values(folder, weights) for weights in family.weights}
    text = sum(count for name, count in counts.items() if name.startswith("text_encoder"))
    # The text encoders of a UNet can hold learned words, and stay in float32.
    in_text = 4 if any(name.startswith("unet/") for name in counts) else dtype.itemsize
    vae = read_config(folder, "vae/config.json")
    size = _image_size(folder, vae)
    values = VALUES_LEARNED.get(family.pipeline, VALUES_LEARNED_ELSE)
    return Needs(
        text=text * in_text,
        rest=(sum(counts.values()) - text) * dtype.itemsize,
        decoding=decoding_bytes(vae, size, dtype),
        learning=values * size**2 * dtype.itemsize,
        num_decoded=at_once(MAX_PIXELS_DECODED, size),
        dtype=dtype,
    )


def _count_values(folder: Path, weights: str) -> int:
    """Count the numbers in a safetensors, or in its pieces; 0 if a part is left out."""
    count = 0
    for piece in pieces(folder, weights):
        if (folder / piece).is_file():
            with safe_open(folder / piece, framework="pt") as file:
                names = list(file.keys())
                count += sum(prod(file.get_slice(name).get_shape()) for name in names)
    return count


def _image_size(folder: Path, vae: dict) -> int:
    """Return the pixels a side of what a generator draws."""
    if not (folder / "unet/config.json").is_file():
        return vae["sample_size"]
    side = read_config(folder, "unet/config.json")["sample_size"]
    return side * 2 ** (len(vae["block_out_channels"]) - 1)


def check_memory(
    folder: Path,
    device: torch.device,
    *,
    learns_from: int | None,
    setting: str = "invert.batch_size",
    free: int | None = None,
) -> None:
    """Refuse a generator that does not fit a device, before its weights are loaded.

    Args:
        folder: of the generator.
        device: where it will compute.
        learns_from: images a step; None: it draws only, and its parts may take turns on a GPU.
        setting: the key in params.yaml that says how many these are.
        free: bytes; None: what is free on the device, which nobody may know.

    Raises:
        ValueError: what it takes, what there is, and what would fit.
    """
    free = free_bytes(device) if free is None else free
    if free is None or not (folder / "model_index.json").is_file():  # refused where it is loaded
        return
    needs, is_gpu = read_needs(folder, fastest_dtype(device)), device.type == "cuda"
    drawing = needs.drawing_in_turns if is_gpu and learns_from is None else needs.drawing
    learning = needs.inverting(learns_from or 0)
    if max(drawing(), learning) <= free:
        return
    if learning > max(free, drawing()):
        most = next((n for n in range(learns_from or 0, 0, -1) if needs.inverting(n) <= free), None)
        way_out = f"lower {setting} to {most}" if most else None
    else:
        most = next((n for n in range(needs.num_decoded, 0, -1) if drawing(n) <= free), None)
        way_out = f"set {AT_ONCE}={most} in the environment" if most else None
    else_ = "take a GPU with more memory" if is_gpu else _on_a_gpu(folder, learns_from)
    raise ValueError(
        f"{folder} takes about {_gb(max(drawing(), learning))} to "
        f"{'draw with' if learns_from is None else 'learn with'} "
        f"({_gb(needs.text + needs.rest)} of weights, {_name(needs.dtype)}), and "
        f"{'the GPU' if is_gpu else 'this machine'} has {_gb(free)} free; "
        f"{way_out or else_}, or choose a smaller generator"
    )


def _on_a_gpu(folder: Path, learns_from: int | None) -> str:
    """Say what it would take in bfloat16."""
    needs = read_needs(folder, torch.bfloat16)
    takes = needs.drawing_in_turns() if learns_from is None else needs.inverting(learns_from)
    return f"take a machine with more, or a GPU, where it takes {_gb(takes)} in bfloat16"


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
