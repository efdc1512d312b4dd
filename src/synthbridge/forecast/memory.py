"""What memory a generator takes on a device, told by its files before any weight is loaded.

Weights are counted from the heads of the safetensors. What lies beside them is counted on every
family at full size by `benchmarks/counting.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from synthbridge.data.generator_folders import check_configs, pieces, read_config
from synthbridge.diffusion.families import flux, sd3
from synthbridge.diffusion.families.flow_matching import QWEN_TOKENS
from synthbridge.diffusion.memory import (
    AT_ONCE,
    MAX_PIXELS_DECODED,
    SPARE,
    at_once,
    decoding_bytes,
    fastest_dtype,
    free_bytes,
)

# Values alive for each pixel of an image in a step that learns: of words, and of a LoRA, by the
# class of the pipeline. Those of a transformer are for each number of a token in all its blocks.
VALUES_INVERTED = {"StableDiffusionXLPipeline": 2500}
VALUES_INVERTED_ELSE = 1500
VALUES_TUNED = {
    "StableDiffusionPipeline": 2050,
    "LatentConsistencyModelPipeline": 2050,
    "StableDiffusionXLPipeline": 3760,
    "StableDiffusion3Pipeline": 0.103,
    "FluxPipeline": 0.0845,
    "Flux2KleinPipeline": 0.133,
    "ZImagePipeline": 0.162,
}
DUAL = 0.7  # of a block: what a second attention adds to it (Stable Diffusion 3.5 medium)
CLIP_TOKENS = 77  # that a prompt is padded to
# What the denoiser's configuration calls the numbers of a token.
WIDTHS = ("cross_attention_dim", "joint_attention_dim", "cap_feat_dim")


@dataclass(frozen=True)
class Job:
    """What a stage does with a generator at once."""

    num_prompts: int  # kept encoded on the device, at most
    learns_from: int | None = None  # images a step; None: it draws only
    tunes: bool = False  # whether it learns a LoRA, or words

    @property
    def setting(self) -> str:
        """The key in params.yaml that says how many images a step learns from."""
        return "tune.batch_size" if self.tunes else "invert.batch_size"


@dataclass(frozen=True)
class Needs:
    """Bytes that a generator takes on a device."""

    text: int  # weights of the text encoders
    rest: int  # weights of the denoiser and the VAE
    prompt: int  # beside them, for each encoded prompt that is kept
    decoding: int  # for each image that is decoded at once
    inverted: int  # for each image of a step that learns words
    tuned: int  # for each image of a step that learns a LoRA
    num_decoded: int  # images decoded at once
    dtype: torch.dtype  # of the denoiser and the VAE

    def drawing(self, num_prompts: int, num_decoded: int | None = None) -> int:
        """Return the bytes of drawing with all weights on the device."""
        beside = max(self._encoding(num_prompts), self._decoding(num_prompts, num_decoded))
        return round(SPARE * (self.text + self.rest + beside))

    def drawing_in_turns(self, num_prompts: int, num_decoded: int | None = None) -> int:
        """Return the bytes of drawing where text encoders and the rest lie there in turns."""
        encoding = self.text + self._encoding(num_prompts)
        decoding = self.rest + self._decoding(num_prompts, num_decoded)
        return round(SPARE * max(encoding, decoding))

    def learning(self, job: Job) -> int:
        """Return the bytes of a step that learns; 0 where none does."""
        if job.learns_from is None:
            return 0
        images = job.learns_from * (self.tuned if job.tunes else self.inverted)
        beside = max(self._encoding(job.num_prompts), job.num_prompts * self.prompt + images)
        return round(SPARE * (self.text + self.rest + beside))

    def _encoding(self, num_prompts: int) -> int:
        """Count prompts twice: they are encoded in parts, and joined to a copy."""
        return 2 * num_prompts * self.prompt

    def _decoding(self, num_prompts: int, num_decoded: int | None) -> int:
        return num_prompts * self.prompt + self.decoding * (num_decoded or self.num_decoded)


def read_needs(folder: Path, dtype: torch.dtype) -> Needs:
    """Read what a folder in diffusers' layout takes, its denoiser and VAE in `dtype`."""
    family = check_configs(folder, str(folder))
    counts = {weights: _count_values(folder, weights) for weights in family.weights}
    text = sum(count for name, count in counts.items() if name.startswith("text_encoder"))
    # The text encoders of a UNet can hold learned words, and stay in float32.
    in_text = 4 if any(name.startswith("unet/") for name in counts) else dtype.itemsize
    vae, denoiser = read_config(folder, "vae/config.json"), _read_denoiser(folder)
    size = image_size(folder, vae)
    of_image = size**2 * dtype.itemsize  # bytes of one value a pixel
    return Needs(
        text=text * in_text,
        rest=(sum(counts.values()) - text) * dtype.itemsize,
        prompt=_values_of_a_prompt(family.pipeline, denoiser) * dtype.itemsize,
        decoding=decoding_bytes(vae, size, dtype),
        inverted=VALUES_INVERTED.get(family.pipeline, VALUES_INVERTED_ELSE) * of_image,
        tuned=round(values_tuned(family.pipeline, denoiser) * of_image),
        num_decoded=at_once(MAX_PIXELS_DECODED, size),
        dtype=dtype,
    )


def values_tuned(pipeline: str, config: Mapping[str, Any]) -> float:
    """Return the values alive for each pixel of an image that a LoRA learns from.

    Args:
        pipeline: its class.
        config: of the denoiser. A transformer keeps as much as its blocks are many and wide; the
            UNets of a pipeline are all alike.
    """
    if "dim" in config:  # Z-Image
        return VALUES_TUNED[pipeline] * config["n_layers"] * config["dim"]
    if "num_layers" not in config:
        return VALUES_TUNED[pipeline]
    num_blocks = config["num_layers"] + config.get("num_single_layers", 0)
    num_blocks += DUAL * len(config.get("dual_attention_layers", ()))
    width = config["num_attention_heads"] * config["attention_head_dim"]
    return VALUES_TUNED[pipeline] * num_blocks * width


def _read_denoiser(folder: Path) -> dict[str, Any]:
    part = "unet" if (folder / "unet/config.json").is_file() else "transformer"
    return read_config(folder, f"{part}/config.json")


def _values_of_a_prompt(pipeline: str, config: Mapping[str, Any]) -> int:
    """Count the numbers of one encoded prompt: its tokens, without what is pooled of them."""
    of_flux = flux.DEV_TOKENS if config.get("guidance_embeds") else flux.SCHNELL_TOKENS
    tokens = {
        "StableDiffusion3Pipeline": CLIP_TOKENS + sd3.T5_TOKENS,
        "FluxPipeline": of_flux,
        "Flux2KleinPipeline": QWEN_TOKENS,
        "ZImagePipeline": QWEN_TOKENS,
    }
    width = next(config[name] for name in WIDTHS if name in config)
    return tokens.get(pipeline, CLIP_TOKENS) * width


def is_told_scale(folder: Path) -> bool:
    """Say whether a transformer is told the guidance scale, as FLUX.1-dev's is."""
    config = "transformer/config.json"
    return (folder / config).is_file() and bool(read_config(folder, config).get("guidance_embeds"))


def _count_values(folder: Path, weights: str) -> int:
    """Count the numbers in a safetensors, or in its pieces; 0 if a part is left out."""
    count = 0
    for piece in pieces(folder, weights):
        if (folder / piece).is_file():
            with safe_open(folder / piece, framework="pt") as file:
                names = list(file.keys())
                count += sum(prod(file.get_slice(name).get_shape()) for name in names)
    return count


def image_size(folder: Path, vae: dict) -> int:
    """Return the pixels a side of what a generator draws."""
    if not (folder / "unet/config.json").is_file():
        return vae["sample_size"]
    side = read_config(folder, "unet/config.json")["sample_size"]
    return side * 2 ** (len(vae["block_out_channels"]) - 1)


def check_memory(folder: Path, device: torch.device, job: Job, *, free: int | None = None) -> None:
    """Refuse a generator that does not fit a device, before its weights are loaded.

    Args:
        folder: of the generator.
        device: where it will compute; on a GPU its parts may take turns in a job that only draws.
        job: what it will do there.
        free: bytes; None: what is free on the device, which nobody may know.

    Raises:
        ValueError: what it takes, what there is, and what would fit.
    """
    free = free_bytes(device) if free is None else free
    if free is None or not (folder / "model_index.json").is_file():  # refused where it is loaded
        return
    needs, is_gpu = read_needs(folder, fastest_dtype(device)), device.type == "cuda"
    takes_turns = is_gpu and job.learns_from is None
    drawing = needs.drawing_in_turns if takes_turns else needs.drawing
    takes = max(drawing(job.num_prompts), needs.learning(job))
    if takes <= free:
        return
    prompts = _prompts(needs, job)
    ways_out = [
        _fewer_at_once(needs, job, drawing, free),
        "lower generate.images_per_block" if prompts and job.learns_from is None else None,
        "take a GPU with more memory" if is_gpu else _on_a_gpu(folder, job),
        "choose a smaller generator",
    ]
    raise ValueError(
        f"{folder} takes about {_gb(takes)} to "
        f"{'draw with' if job.learns_from is None else 'learn with'} "
        f"({_gb(needs.text + needs.rest)} of weights, {_name(needs.dtype)}"
        f"{prompts}{_turns(needs, is_gpu, takes_turns)}), and "
        f"{'the GPU' if is_gpu else 'this machine'} has {_gb(free)} free; "
        f"{', or '.join(way for way in ways_out if way)}"
    )


def _fewer_at_once(
    needs: Needs, job: Job, drawing: Callable[[int, int], int], free: int
) -> str | None:
    """Say which number of images at once would fit; None: not even one does."""
    of_learning = range(job.learns_from or 0, 0, -1)
    if needs.learning(job) > max(free, drawing(job.num_prompts, needs.num_decoded)):
        fits = (n for n in of_learning if needs.learning(replace(job, learns_from=n)) <= free)
        most = next(fits, None)
        return f"lower {job.setting} to {most}" if most else None
    of_drawing = range(needs.num_decoded, 0, -1)
    most = next((n for n in of_drawing if drawing(job.num_prompts, n) <= free), None)
    return f"set {AT_ONCE}={most} in the environment" if most else None


def _prompts(needs: Needs, job: Job) -> str:
    """Name the encoded prompts where they take a tenth of the weights or more."""
    kept = job.num_prompts * needs.prompt
    if kept < (needs.text + needs.rest) / 10:
        return ""
    return f", {_gb(kept)} for {job.num_prompts:,} encoded prompts"


def _turns(needs: Needs, is_gpu: bool, takes_turns: bool) -> str:
    """Say of a GPU whether the weights lie there in turns already."""
    if not is_gpu:
        return ""
    if takes_turns:
        return f"; the text encoders, {_gb(needs.text)}, wait on the CPU while images are drawn"
    return "; all of them stay on the GPU while it learns"


def _on_a_gpu(folder: Path, job: Job) -> str:
    """Say what it would take in bfloat16."""
    needs = read_needs(folder, torch.bfloat16)
    takes = needs.drawing_in_turns(job.num_prompts)
    if job.learns_from is not None:
        takes = max(needs.drawing(job.num_prompts), needs.learning(job))
    return f"take a machine with more, or a GPU, where it takes {_gb(takes)} in bfloat16"


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
