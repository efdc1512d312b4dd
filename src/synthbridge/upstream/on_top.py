"""Weights on top of a generator: a UNet or a LoRA of another repository, made one with its folder.

Few-step models are published so: SDXL-Lightning as a UNet and as a LoRA, LCM as a UNet with its own
configuration and as LCM-LoRA. Their pages name the scheduler, and their files do not: params.yaml
says how they were distilled. What is written replaces files of the model's own folder, so that the
whole is again a folder that diffusers loads.
"""

# diffusers' annotations are narrower than what it takes and returns.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from synthbridge.core.files import read_json, write_json
from synthbridge.data.distillation import RECORD, Method
from synthbridge.data.licences import read_licences, write_licences
from synthbridge.upstream.hub import Wanted, read_shapes
from synthbridge.upstream.layouts import GENERATOR, WITHOUT_UNET

UNET = "unet/diffusion_pytorch_model.safetensors"
Shapes = Mapping[str, tuple[int, ...]]  # of tensors, by name
Kind = Literal["unet", "lora"]

# What each method draws with, as the publishers' pages change the base's own scheduler.
SCHEDULERS: dict[Method, tuple[str, dict[str, Any]]] = {
    "lcm": ("LCMScheduler", {}),
    "lightning": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
}
LORA = re.compile(r"lora|\.alpha$|dora_scale")
OF_TEXT_ENCODER = re.compile(r"^(lora_te|text_encoder)")
OF_TRANSFORMER = re.compile(r"(^|\.)transformer\.|(double|single|joint|transformer)_blocks[._]\d")
# The matrix of a LoRA that reads the text: its inputs are the numbers a word of the text encoders.
READS_TEXT = re.compile(r"attn2[._](to_k|to_v|processor\.to_[kv]_lora).*(lora_down|lora_A|down)\.")


def base_for(model: Wanted, top: Wanted, file: str) -> Wanted:
    """Return the model that weights go on top of, refused by its configurations if they do not fit.

    Args:
        model: the generator that params.yaml names.
        top: the weights, of which the header is read before anything large is fetched.
        file: of these.

    Raises:
        ValueError: if the weights are neither a UNet nor a LoRA of one.
    """
    name = f"{top.name}: {file}"
    shapes = read_shapes(top, file)
    if not shapes:
        return model  # there is no such file, as is said when it is fetched
    kind = tell_kind(shapes, name)
    layout = WITHOUT_UNET if kind == "unet" else GENERATOR

    def check(folder: Path, of_model: str) -> Sequence[str]:
        needed = layout.check(folder, of_model)
        if not (folder / "unet" / "config.json").is_file():
            raise ValueError(f"{name} goes on top of a UNet, and {of_model} has none")
        config = read_json(folder / "unet" / "config.json")
        beside = (top.path if top.path.is_dir() else top.downloads) / top.layout.configs[0]
        if kind == "unet" and beside.is_file():
            told = read_json(beside)
            _check_configs_fit(told, config, name)
            config = told
        check_fit(shapes, kind, config, name)
        return needed

    return replace(model, layout=replace(layout, check=check))


def tell_kind(shapes: Shapes, name: str) -> Kind:
    """Say whether tensors are a UNet or a LoRA of one.

    Args:
        shapes: of all tensors of the file.
        name: what the user calls it.

    Raises:
        ValueError: what they are instead.
    """
    if {"conv_in.weight", "time_embedding.linear_1.weight"} <= shapes.keys():
        return "unet"
    way_out = "choose a UNet in diffusers' names, or a LoRA of one"
    if any(key.startswith("model.diffusion_model.") for key in shapes):
        raise ValueError(
            f"{name} is a whole model in one file, as other programs read it; {way_out} "
            "(of SDXL-Lightning sdxl_lightning_4step_unet.safetensors)"
        )
    if not shapes or not all(LORA.search(key) for key in shapes):
        some = ", ".join(sorted(shapes)[:3])
        raise ValueError(f"{name} is no UNet and no LoRA (it holds {some}); {way_out}")
    if any(key.endswith("dora_scale") for key in shapes):
        raise ValueError(f"{name} is a DoRA, whose scales are not supported; choose a plain LoRA")
    if any(key.startswith("base_model.") for key in shapes):
        raise ValueError(
            f"{name} is a LoRA as peft saves it, apart from its alpha; choose one as diffusers "
            "saves it (pytorch_lora_weights.safetensors)"
        )
    if any(OF_TEXT_ENCODER.search(key) for key in shapes):
        raise ValueError(
            f"{name} is a LoRA that changes the text encoder too, which is not supported; choose "
            "one of the UNet alone"
        )
    unet = [key for key in shapes if key.startswith(("unet.", "lora_unet_"))]
    if not unet and any(OF_TRANSFORMER.search(key) for key in shapes):
        raise ValueError(f"{name} is a LoRA of a transformer, and the model has a UNet; {way_out}")
    return "lora"


def check_fit(shapes: Shapes, kind: Kind, config: Mapping[str, Any], name: str) -> None:
    """Refuse weights of another base.

    Args:
        shapes: of all tensors of the file.
        kind: what they are.
        config: of the UNet that they should fit: that beside the file, or the model's own.
        name: what the user calls the weights.

    Raises:
        ValueError: how they differ.
    """
    if kind == "lora":
        _check_lora_width(shapes, config, name)
        return
    expected = _unet_shapes(config)
    lacking, more = expected.keys() - shapes.keys(), shapes.keys() - expected.keys()
    other = [key for key in expected.keys() & shapes.keys() if expected[key] != shapes[key]]
    if not (lacking or more or other):
        return
    told = [
        f"{what} {len(keys)} tensors ({min(keys)})"
        for what, keys in (
            ("lacks", lacking),
            ("has besides", more),
            ("has of another shape", other),
        )
        if keys
    ]
    raise ValueError(
        f"{name} is the UNet of another base: it {', '.join(told)}; choose weights made for the "
        "model that upstream.generator.hub names"
    )


def _unet_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the UNet that `config` describes; makes no weights."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(config))
    return {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}


def _check_lora_width(shapes: Shapes, config: Mapping[str, Any], name: str) -> None:
    widths = {shape[1] for key, shape in shapes.items() if READS_TEXT.search(key)}
    own = config.get("cross_attention_dim")
    own = set(own) if isinstance(own, list) else {own}
    if not widths <= own:
        listed = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
        of = next((listed[width] for width in widths if width in listed), "another model")
        raise ValueError(
            f"{name} is a LoRA of {of}: it reads words of {min(widths)} numbers, and the model's "
            f"have {min(own)}; choose one made for the model that upstream.generator.hub names"
        )


def _check_configs_fit(config: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    """Refuse a UNet whose own configuration asks for other inputs than the model gives.

    Raises:
        ValueError: which.
    """
    for key, default in (("cross_attention_dim", 1280), ("in_channels", 4)):
        wanted, given = config.get(key, default), own.get(key, default)
        if wanted != given:
            raise ValueError(
                f"{name} is the UNet of another base: its {key} is {wanted}, and the model's is "
                f"{given}; choose weights made for the model that upstream.generator.hub names"
            )
    if config.get("addition_embed_type") != own.get("addition_embed_type"):
        raise ValueError(
            f"{name} is the UNet of another base: one of the two is told an image's size, as SDXL "
            "is; choose weights made for the model that upstream.generator.hub names"
        )


def merge(base: Path, weights: Path, file: str, method: Method | None, folder: Path) -> None:
    """Write into `folder` what of the model `base` becomes other by weights on top of it.

    Args:
        base: a generator's folder; its UNet's weights may be absent where the file is a whole UNet.
        weights: a folder that holds `file` and perhaps, beside it, the UNet's configuration.
        file: a UNet or a LoRA.
        method: how the weights were distilled.
        folder: empty.
    """
    from safetensors import safe_open

    with safe_open(weights / file, framework="numpy") as opened:
        kind = tell_kind(dict.fromkeys(opened.keys(), ()), file)
    (folder / "unet").mkdir()
    if kind == "unet":
        beside = (weights / file).parent / "config.json"
        config = beside if beside.is_file() else base / "unet" / "config.json"
        shutil.copyfile(config, folder / "unet" / "config.json")
        _link(weights / file, folder / UNET)
    else:
        _fuse(base / "unet", weights / file, folder / "unet")
    if method:
        _write_scheduler(base, method, folder)
        write_json(folder / RECORD, {"method": method, "file": Path(file).name})
    write_licences(folder, [*read_licences(base), *read_licences(weights)])


def mark_as_plain(folder: Path) -> None:
    """Write what says of the generator beside it that it is no few-step model."""
    write_json(folder / RECORD, {"method": None})


def _link(file: Path, to: Path) -> None:
    """Give a file of gigabytes a second name, or copy it where the disk has no second names."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)


def _fuse(base: Path, file: Path, folder: Path) -> None:
    """Write the UNet of `base` with a LoRA added to its weights: W + scale up down, float32.

    Raises:
        ValueError: if the LoRA does not fit.
    """
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    loader: Any = StableDiffusionXLLoraLoaderMixin  # of Stable Diffusion 1.x and 2.x as well
    unet = UNet2DConditionModel.from_pretrained(base, local_files_only=True, use_safetensors=True)
    try:
        # It also turns the names of other programs into diffusers'. The metadata may hold alpha.
        state, alphas, metadata = loader.lora_state_dict(
            file.parent,
            weight_name=file.name,
            use_safetensors=True,
            local_files_only=True,
            return_lora_metadata=True,
            unet_config=unet.config,
        )
        _refuse_strangers(state, dict(unet.named_modules()), file.name)
        loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet, metadata=metadata)
    except (RuntimeError, KeyError) as error:  # shapes that do not fit
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{file.name} is a LoRA of another base ({said}); choose one made for the model that "
            "upstream.generator.hub names"
        ) from None
    unet.fuse_lora()
    unet.unload_lora()
    unet.register_to_config(_name_or_path="")  # no path of this machine in what is saved
    unet.save_pretrained(folder, safe_serialization=True, max_shard_size="1TB")


def _refuse_strangers(state: Mapping[str, Any], modules: Mapping[str, Any], name: str) -> None:
    """Refuse a LoRA for layers that the UNet does not have: diffusers would leave them out."""
    layers = {re.split(r"\.(?:lora|processor)", key.removeprefix("unet."))[0] for key in state}
    strange = sorted(layer for layer in layers if layer not in modules)
    if strange:
        raise ValueError(
            f"{name} is a LoRA of another base: it changes {len(strange)} layers that the model "
            f"does not have ({strange[0]}); choose one made for the model that "
            "upstream.generator.hub names"
        )


def _write_scheduler(base: Path, method: Method, folder: Path) -> None:
    """Write the scheduler that the publisher names, and the index that names it."""
    kind, changes = SCHEDULERS[method]
    own = read_json(base / "scheduler" / "scheduler_config.json")
    (folder / "scheduler").mkdir()
    scheduler = {**own, **changes, "_class_name": kind}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    index = read_json(base / "model_index.json")
    write_json(folder / "model_index.json", {**index, "scheduler": ["diffusers", kind]})
