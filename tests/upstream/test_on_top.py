"""Weights on top of a base, in the layouts that they are published in, over a hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusion.tiny_sdxl import make_unet, write_sdxl
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from house import ROOT
from synthbridge.core.files import hash_folder
from synthbridge.data.distillation import read_distillation
from synthbridge.data.licences import read_licences
from synthbridge.diffusion.loading import load_generator
from synthbridge.upstream.backbone import make_backbone, save_backbone
from synthbridge.upstream.on_top import check_fit, merge, tell_kind
from upstream.hub_on_loopback import COMMIT, Hub, Repository, serve

BASE, TOP = "a/sdxl", "b/weights"
LIGHTNING = "sdxl_lightning_4step_unet.safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"
LORA_LAYERS = [  # as LCM-LoRA's
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
    "time_emb_proj",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    save_backbone(make_backbone("test_resnet", 24, 6), folder)
    return folder


@pytest.fixture
def hub(base: Path, backbone: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub with a base, and an empty repository of weights at tmp_path/weights."""
    (tmp_path / "weights").mkdir()
    with serve() as hub:
        hub.repositories[BASE] = Repository(base, card={"license": "openrail++"})
        hub.repositories["timm/test"] = Repository(backbone)
        hub.repositories[TOP] = Repository(tmp_path / "weights")
        yield hub


def run_stage(hub: Hub, folder: Path, *weights: dict[str, Any], **environment: str) -> str:
    """Run the stage once for each weights on top of the base; return what it says."""
    generators = [
        {
            "hub": BASE,
            "revision": COMMIT,
            "weights": {"hub": TOP, "revision": COMMIT, "distilled": None, **top},
        }
        for top in weights
    ]
    backbone = {"hub": "timm/test", "revision": COMMIT}
    settings = [
        {"pool": None, "clip": None, "generator": generator, "backbone": backbone}
        for generator in generators
    ]
    script = Path(__file__).with_name("run_stage.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(settings), str(folder / "out")],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT / "src"),
            "SYNTHBRIDGE_WORK": str(folder / "work"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_top(base: Path, tmp_path: Path, file: str, method: Any) -> Path:
    """Return the folder that weights in tmp_path/weights on top of the base become."""
    folder = tmp_path / "merged"
    folder.mkdir()
    merge(base, tmp_path / "weights", file, method, folder)
    whole = shutil.copytree(base, tmp_path / "whole")
    return shutil.copytree(folder, whole, dirs_exist_ok=True)


def write_unet(folder: Path, name: str, seed: int = 7, **changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = make_unet(**changes)
    halves = {key: tensor.half().contiguous() for key, tensor in unet.state_dict().items()}
    save_file(halves, folder / name)
    return unet


def write_lora(
    folder: Path, name: str, naming: str, changes: dict[str, Any] | None = None
) -> dict[str, torch.Tensor]:
    """Write a LoRA of the UNet, named as diffusers does ("unet.") or as others ("lora_unet_")."""
    torch.manual_seed(3)
    unet = make_unet(**(changes or {}))
    unet.add_adapter(
        LoraConfig(r=2, lora_alpha=2, target_modules=LORA_LAYERS, init_lora_weights=False)
    )
    tensors = {}
    for key, tensor in get_peft_model_state_dict(unet).items():
        layer, _, rest = key.partition(".lora_")
        if naming == "unet.":
            tensors[f"unet.{key}"] = tensor.contiguous()
            continue
        layer = "lora_unet_" + layer.replace(".", "_")
        end = "lora_down" if rest.startswith("A") else "lora_up"
        tensors[f"{layer}.{end}.weight"] = tensor.contiguous()
        tensors[f"{layer}.alpha"] = torch.tensor(1.0)
    save_file(tensors, folder / name)
    return tensors


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in load_file(file).items()}


def test_a_unet_takes_the_place_of_the_bases(hub: Hub, tmp_path: Path, base: Path):
    """SDXL-Lightning: a UNet in half precision, without a configuration of its own."""
    unet = write_unet(tmp_path / "weights", LIGHTNING)
    hub.repositories[TOP].card = {"license": "other", "license_name": "its-own-nc"}
    weights = {"file": LIGHTNING, "distilled": "lightning"}
    said = run_stage(hub, tmp_path, weights)
    assert f"{LIGHTNING} of {TOP}" in said
    assert f"licence of {BASE}: openrail++\n" in said
    assert f"licence of {TOP}: its-own-nc; it forbids commercial use\n" in said
    assert not any(UNET in line for line in hub.asked)  # the base's own is not needed
    folder = tmp_path / "out" / "generator"
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    for key, tensor in unet.state_dict().items():
        assert torch.equal(pipeline.unet.state_dict()[key], tensor.half().float()), key
    published = EulerDiscreteScheduler.from_config(
        EulerDiscreteScheduler.from_pretrained(base / "scheduler").config,
        timestep_spacing="trailing",
    )
    assert isinstance(pipeline.scheduler, EulerDiscreteScheduler)
    published.set_timesteps(4)
    pipeline.scheduler.set_timesteps(4)
    assert torch.equal(published.timesteps, pipeline.scheduler.timesteps)
    assert torch.equal(published.sigmas, pipeline.scheduler.sigmas)
    distilled = read_distillation(folder)
    assert distilled and distilled.num_steps == (4, 4) and distilled.samplers == ("euler",)
    ours = load_generator(folder)
    assert ours.guidance == "none" and ours.num_steps == (4, 4)
    assert [licence.hub for licence in read_licences(folder)] == [BASE, TOP]
    asked, before = len(hub.asked), hash_folder(folder)
    again = run_stage(hub, tmp_path, weights, HF_HUB_OFFLINE="1")
    assert "refused" not in again and "its-own-nc" in again
    assert len(hub.asked) == asked and hash_folder(folder) == before


def test_weights_that_do_not_fit_are_refused_before_anything_large(hub: Hub, tmp_path: Path):
    write_unet(tmp_path / "weights", LIGHTNING, cross_attention_dim=40)
    write_lora(tmp_path / "weights", "lora.safetensors", "unet.", {"cross_attention_dim": 768})
    lightning = {"file": LIGHTNING, "distilled": "lightning"}
    said = run_stage(
        hub,
        tmp_path,
        lightning,
        {"file": "lora.safetensors"},
        {"file": "sdxl_lightning_4steps_unet.safetensors", "distilled": "lightning"},
        {**lightning, "revision": None},
    )
    refusals = [line for line in said.splitlines() if line.startswith("refused")]
    name = f"refused: upstream.generator.weights: {TOP} at 0123456"
    assert [line.startswith(name) for line in refusals] == [True, True, True, False]
    assert f"{LIGHTNING} is the UNet of another base: it has of another shape" in refusals[0]
    assert "is a LoRA of Stable Diffusion 1.x: it reads words of 768 numbers" in refusals[1]
    assert "has no sdxl_lightning_4steps_unet.safetensors (only lora.safeten" in refusals[2]
    assert "upstream.generator.weights.revision is missing; run 'python src pin'" in refusals[3]
    # Of the weights the header alone, which the loopback hub logs as a request of the file.
    assert not [line for line in hub.asked if "safetensors" in line and not line.startswith(TOP)]
    assert not (tmp_path / "out" / "generator").exists()


def test_a_unet_comes_with_its_own_configuration(base: Path, tmp_path: Path):
    """lcm-sdxl: config.json beside the weights, and a UNet that is told the guidance scale."""
    name = "diffusion_pytorch_model.safetensors"
    (tmp_path / "weights").mkdir()
    unet = write_unet(tmp_path / "weights", name, time_cond_proj_dim=32)
    unet.save_config(tmp_path / "weights")
    check_fit(shapes_of(tmp_path / "weights" / name), "unet", unet.config, name)
    folder = on_top(base, tmp_path, name, "lcm")
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    assert pipeline.unet.config["time_cond_proj_dim"] == 32
    assert isinstance(pipeline.scheduler, LCMScheduler)
    assert load_generator(folder).guidance == "embedded"


@pytest.mark.parametrize("naming", ["unet.", "lora_unet_"])
def test_a_lora_is_fused_as_diffusers_does(naming: str, tmp_path: Path, base: Path):
    """LCM-LoRA: in diffusers' names or in others', with scales in `alpha`."""
    name = "pytorch_lora_weights.safetensors"
    (tmp_path / "weights").mkdir()
    write_lora(tmp_path / "weights", name, naming)
    shapes = shapes_of(tmp_path / "weights" / name)
    assert tell_kind(shapes, name) == "lora"
    check_fit(shapes, "lora", make_unet().config, name)
    folder = on_top(base, tmp_path, name, "lcm")
    pipeline = StableDiffusionXLPipeline.from_pretrained(base, add_watermarker=False)
    before = {key: tensor.clone() for key, tensor in pipeline.unet.state_dict().items()}
    pipeline.load_lora_weights(tmp_path / "weights", weight_name=name)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    expected, ours = pipeline.unet.state_dict(), load_file(folder / UNET)
    assert ours.keys() == expected.keys()
    assert all(torch.allclose(ours[key], expected[key], atol=1e-6) for key in ours)
    changed = [key for key in ours if not torch.equal(ours[key], before[key])]
    assert len(changed) > 10 and all(ours[key].dtype == torch.float32 for key in ours)
    distilled = read_distillation(folder)
    assert distilled and distilled.guidance == "classifier-free" and distilled.max_scale == 2
    index = json.loads((folder / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "LCMScheduler"]
    assert str(tmp_path) not in (folder / "unet" / "config.json").read_text()


def test_the_alpha_that_diffusers_keeps_beside_the_weights_counts(tmp_path: Path, base: Path):
    """As its training scripts save a LoRA: rank 2, alpha 0.5, so a quarter of B A."""
    torch.manual_seed(3)
    unet = make_unet()
    unet.add_adapter(
        LoraConfig(r=2, lora_alpha=0.5, target_modules=LORA_LAYERS, init_lora_weights=False)
    )
    StableDiffusionXLPipeline.save_lora_weights(
        tmp_path / "weights",
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    name = "pytorch_lora_weights.safetensors"
    ours = load_file(on_top(base, tmp_path, name, None) / UNET)
    own = load_file(base / UNET)
    tensors = load_file(tmp_path / "weights" / name)
    layer = next(key for key in tensors if "attn1.to_q.lora_A" in key).split(".lora_A")[0]
    added = tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"] / 4
    key = f"{layer.removeprefix('unet.')}.weight"
    assert torch.allclose(ours[key] - own[key].float(), added, atol=1e-6)


def test_a_fine_tune_keeps_the_bases_scheduler(tmp_path: Path, base: Path):
    (tmp_path / "weights").mkdir()
    write_lora(tmp_path / "weights", "style.safetensors", "unet.")
    folder = on_top(base, tmp_path, "style.safetensors", None)
    scheduler = "scheduler/scheduler_config.json"
    assert (folder / scheduler).read_bytes() == (base / scheduler).read_bytes()
    assert read_distillation(folder) is None


def test_a_lora_for_layers_that_the_model_lacks_is_refused(tmp_path: Path, base: Path):
    (tmp_path / "weights").mkdir()
    write_lora(tmp_path / "weights", "lora.safetensors", "unet.", {"layers_per_block": 2})
    with pytest.raises(ValueError, match=r"lora.safetensors is a LoRA of another base: it changes"):
        on_top(base, tmp_path, "lora.safetensors", None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"addition_embed_type": None}, r"base: it lacks \d+ tensors \(add_embedding.linear_1.b"),
        ({"layers_per_block": 2}, r"it has besides \d+ tensors .*; choose weights made for the"),
    ],
)
def test_a_unet_of_another_base_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path):
    write_unet(tmp_path, LIGHTNING, **changes)
    with pytest.raises(ValueError, match=f"^name is the UNet of another {sentence}|{sentence}"):
        check_fit(shapes_of(tmp_path / LIGHTNING), "unet", make_unet().config, "name")


@pytest.mark.parametrize("naming", ["unet.", "lora_unet_"])
def test_a_lora_of_another_base_is_refused(naming: str, tmp_path: Path):
    write_lora(tmp_path, "lora.safetensors", naming, {"cross_attention_dim": 768})
    shapes = shapes_of(tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match=r"reads words of 768 numbers, and the model's have 56"):
        check_fit(shapes, "lora", make_unet().config, "lora.safetensors")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "is a whole model in one file"),
        ("unet.conv.lora_A.dora_scale", "is a DoRA, whose scales are not supported"),
        ("base_model.model.conv.lora_A.weight", "is a LoRA as peft saves it, apart from its alpha"),
        ("conv.weight", r"is no UNet and no LoRA \(it holds conv.weight\)"),
        (
            "lora_te_text_model_encoder_layers_0.lora_down.weight",
            "is a LoRA that changes the text encoder too",
        ),
        (
            "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
            "is a LoRA of a transformer, and the model has a UNet",
        ),
    ],
)
def test_other_weights_are_refused(name: str, sentence: str):
    with pytest.raises(ValueError, match=f"weights.safetensors {sentence}"):
        tell_kind({name: (2, 2)}, "weights.safetensors")
