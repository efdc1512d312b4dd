"""LoRA (arXiv:2106.09685): each projection of a denoiser's attention gets two thin matrices.

A projection W x becomes (W + B A) x with A (r, in) and B (out, r). While they are learned, B A x is
added beside W x; to draw, B A is added to W itself, so that a step costs what it did.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from synthbridge.core.files import whole_file

# Names of attention's projections in diffusers: UNets and transformers have the first four; joint
# attention projects the prompt too; parallel blocks (FLUX) have fewer and larger ones.
PROJECTIONS = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
    *("to_qkv_mlp_proj", "to_out"),
)
ENDINGS = tuple(f".{name}" for name in PROJECTIONS)
DOWN, UP = "lora_A.weight", "lora_B.weight"  # what diffusers and peft call A and B


@dataclass(frozen=True)
class Change:
    """What is added to one projection: up @ down."""

    down: torch.Tensor  # A (r, in)
    up: torch.Tensor  # B (out, r)


Lora = Mapping[str, Change]  # by the projection's name in the denoiser


def file_name(label: int | None) -> str:
    """Return what the file of a class's LoRA is called, or None: of a data set's."""
    return "lora.safetensors" if label is None else f"lora-{label:04d}.safetensors"


def attention_projections(denoiser: Any) -> dict[str, torch.nn.Linear]:
    """Return what a LoRA changes, by name, in the denoiser's order."""
    return {
        name: module
        for name, module in _plain(denoiser).named_modules()
        if isinstance(module, torch.nn.Linear) and name.endswith(ENDINGS)
    }


def _plain(denoiser: Any) -> torch.nn.Module:
    """Return the denoiser itself where torch's compiler wraps it."""
    return getattr(denoiser, "_orig_mod", denoiser)


def start_lora(denoiser: Any, rank: int, seed: int) -> dict[str, Change]:
    """Return changes that are zero: A is normal with deviation 1 / r, as peft draws it, B is 0."""
    draws = torch.Generator().manual_seed(seed)
    changes = {}
    for name, layer in attention_projections(denoiser).items():
        down = torch.randn(rank, layer.in_features, generator=draws) / rank
        changes[name] = Change(down, torch.zeros(layer.out_features, rank))
    return changes


@contextmanager
def beside(denoiser: Any, lora: Lora, scale: float) -> Iterator[None]:
    """Add `scale` B A x to each projection while the block runs; differentiable in A and B."""
    layers = attention_projections(denoiser)
    handles = [
        layers[name].register_forward_hook(partial(_add, change=change, scale=scale))
        for name, change in lora.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add(_module: Any, inputs: Any, output: torch.Tensor, *, change: Change, scale: float):
    x = inputs[0].to(change.down.dtype)
    return output + (scale * (x @ change.down.T @ change.up.T)).to(output.dtype)


@contextmanager
def fused(denoiser: Any, lora: Lora) -> Iterator[None]:
    """Add B A to each projection's weights while the block runs; then they are as before, bit for
    bit: copies wait in the CPU's memory.
    """
    layers = attention_projections(denoiser)
    before = {name: layers[name].weight.detach().to("cpu", copy=True) for name in lora}
    try:
        with torch.no_grad():
            for name, change in lora.items():
                weight = layers[name].weight
                up, down = change.up.to(weight.device), change.down.to(weight.device)
                weight.copy_(weight.float() + up @ down)
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                layers[name].weight.copy_(weight)


def save_lora(path: Path, denoiser: Any, lora: Lora) -> None:
    """Write a LoRA as diffusers' `load_lora_weights` reads it.

    The file names no alpha: readers then take it for the rank, and B A counts as it stands.
    """
    part = _part_name(denoiser)
    tensors = {}
    for name, change in lora.items():
        for key, tensor in ((DOWN, change.down), (UP, change.up)):
            tensors[f"{part}.{name}.{key}"] = tensor.detach().float().cpu().contiguous()
    with whole_file(path) as partial_file:
        partial_file.write_bytes(save(tensors))  # save_file hides that a disk is full


def _part_name(denoiser: Any) -> str:
    """Return what pipelines call the denoiser."""
    return "unet" if "UNet" in type(_plain(denoiser)).__name__ else "transformer"


def load_lora(path: Path, denoiser: Any) -> dict[str, Change]:
    """Read a LoRA of this denoiser.

    Raises:
        ValueError: if it is damaged, or of another generator.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{path} is no LoRA ({error}); run 'dvc repro' for it") from None
    layers, part = attention_projections(denoiser), _part_name(denoiser)
    lora = {}
    for name, layer in layers.items():
        down, up = (tensors.pop(f"{part}.{name}.{key}", None) for key in (DOWN, UP))
        if down is None or up is None:
            raise _of_another(path, f"it lacks {part}.{name}")
        if (down.shape[1], up.shape[0]) != (layer.in_features, layer.out_features):
            shapes = f"{down.shape[1]} to {up.shape[0]}"
            own = f"{layer.in_features} to {layer.out_features}"
            raise _of_another(path, f"{part}.{name} takes {shapes} numbers there, and {own} here")
        lora[name] = Change(down, up)
    if tensors:
        raise _of_another(path, f"it changes {next(iter(tensors))} too, which is not here")
    return lora


def _of_another(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path} is a LoRA of another generator ({why}); learn it with this one ('dvc repro')"
    )
