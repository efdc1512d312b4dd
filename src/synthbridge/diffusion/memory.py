"""Memory: how many images are done at once, and what lies on a device beside the weights.

Nothing here changes a byte of an image, but for the rounding of other batches.
"""

import os
from pathlib import Path
from typing import Any

import torch

# Denoised at once: 32 images of 512 x 512, 64 rows with guidance, take about 5 GB in bfloat16.
MAX_PIXELS_DENOISED = 32 * 512 * 512
# Decoded at once: 16 images of 512 x 512 take about 6 GB in bfloat16, whatever the batch size.
MAX_PIXELS_DECODED = 16 * 512 * 512
MAX_PIXELS_ENCODED = 16 * 512 * 512  # as in training
AT_ONCE = "SYNTHBRIDGE_IMAGES_AT_ONCE"  # in the environment: at most so many images at once
# Values alive at once while images are decoded, for each pixel and each of the VAE's narrowest
# channels: six tensors of the image's size (`benchmarks/counting.py`). Drawing takes most there.
TENSORS_DECODED = 6
SPARE = 1.05  # the allocator's rounding, and the work space of kernels


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return what denoiser and VAE compute in: bfloat16 on a GPU that has it, else float32."""
    # Cards before Ampere only emulate it.
    is_fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if is_fast else torch.float32


def at_once(max_pixels: int, size: int) -> int:
    """Return how many images of `size` pixels a side are done at once, one at least.

    Args:
        max_pixels: as many as fit into these, or fewer where the environment says so.
        size: pixels a side.

    Raises:
        ValueError: if the environment holds no whole number above 0.
    """
    told = os.environ.get(AT_ONCE)
    if told is not None and (not told.isdecimal() or told == "0" * len(told)):
        raise ValueError(f"{AT_ONCE} is '{told}'; give a whole number above 0, or unset it")
    most = max(1, max_pixels // size**2)
    return most if told is None else min(most, int(told))


def decoding_bytes(vae_config: Any, size: int, dtype: torch.dtype) -> int:
    """Return the bytes that decoding one image of `size` pixels a side takes beside the weights."""
    return TENSORS_DECODED * vae_config["block_out_channels"][0] * size**2 * dtype.itemsize


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes that are free on a device, or in the machine; None: nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    told = Path("/proc/meminfo")
    for line in told.read_text(encoding="utf-8").splitlines() if told.is_file() else ():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None
