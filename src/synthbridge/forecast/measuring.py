"""Measures the speeds of this machine with the models of params.yaml, in a minute or two."""

import platform
from datetime import date
from pathlib import Path

import torch
from accelerate import Accelerator
from ruamel.yaml import YAML

from synthbridge.clip.embedding import load_clip
from synthbridge.core.files import whole_file
from synthbridge.core.log import say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.units import work_folder
from synthbridge.forecast.speeds import (
    COMMITTED,
    MEASURED,
    Speeds,
    SpeedsFile,
    backbone_name,
    generator_name,
    read_speeds_file,
)
from synthbridge.forecast.speeds_of_backbone import measure_backbone
from synthbridge.forecast.speeds_of_generator import measure_generator
from synthbridge.forecast.speeds_of_miniature import measure_miniature
from synthbridge.forecast.stopwatch import (
    least_seconds,
    seconds_of_code,
    seconds_of_command,
    smooth_images,
)
from synthbridge.params import Params
from synthbridge.training.team import Team

UPSTREAM = Path("data/upstream")  # where dvc.yaml has `upstream` leave the models
STARTS = {"light_start": "plan", "training_start": "select", "upstream_start": "upstream"}
LOADING_CLIP = """
from pathlib import Path; import torch
from synthbridge.clip.embedding import load_clip
from synthbridge.stages import examine
load_clip(Path({folder!r}), torch.device({device!r}))
"""


def measure(params: Params, name: str) -> Path:
    """Write this machine's speeds to the work folder, under a short name, and return the file.

    What was measured before with other models stays. Kinds that take too long to measure are those
    of the committed CPU.

    Raises:
        ValueError: if `upstream` has not made the models yet.
    """
    if not (UPSTREAM / "backbone" / "model.safetensors").is_file():
        raise ValueError("speeds are measured with the models themselves; run 'dvc repro upstream'")
    path = work_folder() / MEASURED
    before = read_speeds_file(path).devices.get(name) if path.is_file() else None
    with start_accelerator() as accelerator:
        speeds, sizes = _measure(params, accelerator, before)
    devices = {**(read_speeds_file(path).devices if path.is_file() else {}), name: speeds}
    known = read_speeds_file(path).bytes if path.is_file() else {}
    values = SpeedsFile(devices=devices, bytes={**known, **sizes}).model_dump(exclude_defaults=True)
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    return path


def _measure(
    params: Params, accelerator: Accelerator, before: Speeds | None
) -> tuple[Speeds, dict[str, dict[str, float]]]:
    device, team = accelerator.device, Team(accelerator, rank=0, size=1)
    say("measuring how stages start, a training, and what the upstream needs")
    seconds = {kind: seconds_of_command(["src", stage, "--help"]) for kind, stage in STARTS.items()}
    seconds |= measure_miniature(params.upstream)
    sizes: dict[str, dict[str, float]] = {}
    backbone = backbone_name(params.upstream, params.training.image_size)
    backbones = {backbone: measure_backbone(params, UPSTREAM / "backbone", team)}
    weights = (UPSTREAM / "backbone" / "model.safetensors").stat().st_size
    sizes[backbone] = {"backbone": weights, "classifier": weights}
    if params.upstream.clip:
        say("measuring CLIP")
        seconds |= _measure_clip(UPSTREAM / "clip", device)
    generators = {}
    if generator := generator_name(params.upstream):
        say("measuring drawing and style inversion")
        generators[generator] = measure_generator(params, UPSTREAM / "generator", device)
    committed = read_speeds_file(COMMITTED).devices["cpu"].seconds
    speeds = Speeds(
        device=_device_name(device),
        kind="cpu" if device.type == "cpu" else "gpu",
        source="measured",
        date=date.today().isoformat(),
        seconds={**committed, **_rounded(seconds)},
        generators=_merged(before and before.generators, generators),
        backbones=_merged(before and before.backbones, backbones),
    )
    return speeds, sizes


def _measure_clip(folder: Path, device: torch.device) -> dict[str, float]:
    clip = load_clip(folder, device)
    images = smooth_images(256, 32)  # the processor makes them fit
    loading = LOADING_CLIP.format(folder=str(folder), device=str(device))
    return {
        "embedding_start": seconds_of_code(loading),
        "embedded_image": least_seconds(lambda: clip.embed_images(images)) / len(images),
    }


def _merged(
    before: dict[str, dict[str, float]] | None, now: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {**(before or {}), **{name: _rounded(kinds) for name, kinds in now.items()}}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Keep three digits: no measurement tells more."""
    return {kind: float(f"{value:.3g}") for kind, value in seconds.items()}


def _device_name(device: torch.device) -> str:
    """Name the GPU, or the processor as the system does, of which a process has one core."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    models = [row.partition(": ")[2] for row in lines if row.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, one core"
