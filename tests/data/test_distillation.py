"""How a generator was distilled, by the configurations that publishers give, and what it takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthbridge.data.distillation import (
    RECORD,
    of_method,
    read_distillation,
    sampling_faults,
    set_faults,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# As the repositories' scheduler_config.json say.
SDXL_TURBO = {
    **BETAS,
    "_class_name": "EulerAncestralDiscreteScheduler",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
}
SD_TURBO = {**SDXL_TURBO, "_class_name": "EulerDiscreteScheduler"}
SDXL = {**SD_TURBO, "timestep_spacing": "leading"}
SD_15 = {**BETAS, "_class_name": "PNDMScheduler", "set_alpha_to_one": False}
ZERO_SNR = {**SD_TURBO, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
LCM = {**BETAS, "_class_name": "LCMScheduler", "original_inference_steps": 50}


def write(
    folder: Path, scheduler: dict[str, Any], unet: dict[str, Any] | None = None, record: Any = None
) -> Path:
    files = {"scheduler/scheduler_config.json": scheduler, "unet/config.json": unet or {}}
    if record:
        files[RECORD] = record
    for name, values in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("scheduler", [SDXL, SD_15, ZERO_SNR])
def test_models_of_many_steps_are_not_distilled(scheduler: dict[str, Any], tmp_path: Path):
    assert read_distillation(write(tmp_path, scheduler)) is None
    assert read_distillation(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("scheduler", "unet", "record", "expected"),
    [
        (SDXL_TURBO, {}, None, ("Turbo", "euler_ancestral", (1, 8), "none")),
        (SD_TURBO, {}, None, ("Turbo", "euler", (1, 8), "none")),
        (LCM, {"time_cond_proj_dim": 256}, None, ("LCM", "lcm", (1, 8), "embedded")),
        (LCM, {}, None, ("LCM", "lcm", (1, 8), "classifier-free")),
        (SDXL, {"time_cond_proj_dim": 256}, None, ("LCM", "lcm", (1, 8), "embedded")),
        (
            SD_TURBO,
            {},
            {"method": "lightning", "file": "sdxl_lightning_8step_lora.safetensors"},
            ("Lightning", "euler", (8, 8), "none"),
        ),
        (
            SD_TURBO,
            {},
            {"method": "lightning", "file": "mine.safetensors"},
            ("Lightning", "euler", (1, 8), "none"),
        ),
    ],
)
def test_published_configurations_say_how_a_model_was_distilled(
    scheduler: dict[str, Any],
    unet: dict[str, Any],
    record: Any,
    expected: tuple[Any, ...],
    tmp_path: Path,
):
    found = read_distillation(write(tmp_path, scheduler, unet, record))
    assert found
    assert (found.name, found.samplers[0], found.num_steps, found.guidance) == expected


def test_the_one_step_unet_of_lightning_is_refused():
    for file in ("sdxl_lightning_1step_unet_x0.safetensors", "mine_x0.safetensors"):
        with pytest.raises(ValueError, match=f"{file} predicts the image itself, which is not"):
            of_method("lightning", file)


@pytest.mark.parametrize(
    ("method", "sampler", "num_steps", "sentences"),
    [
        ("lightning", "euler", 4, []),
        ("lcm", "lcm", 8, []),
        (
            "lightning",
            "ddpm",
            50,
            [
                "generate.sampler is ddpm, but the generator is a Lightning model, which takes "
                "euler; choose euler",
                "generate.num_steps is 50, but the generator is a Lightning model, distilled to 4 "
                "steps; choose 4",
            ],
        ),
        ("lightning", "euler", 2, ["distilled to 4 steps; choose 4"]),
        ("lcm", "lcm", 20, ["is a LCM model, distilled to 1 to 8 steps; choose 4"]),
        (None, "lcm", 20, ["sampler is lcm, which only LCM models take, and the generator is no"]),
        (None, "ddpm", 50, []),
    ],
)
def test_steps_and_samplers_that_make_no_sense(
    method: Any, sampler: str, num_steps: int, sentences: list[str]
):
    distillation = method and of_method(method, "x_4step_unet.safetensors")
    found = list(sampling_faults(distillation, sampler, num_steps))
    assert len(found) == len(sentences)
    for fault, sentence in zip(found, sentences, strict=True):
        assert sentence in fault


@pytest.mark.parametrize(
    ("method", "embeds", "scale", "learns", "sentences"),
    [
        ("lightning", False, 1, None, []),
        ("lightning", False, 3.5, None, ["a Lightning model, which draws without guidance; write"]),
        ("lcm", False, 2, None, []),
        ("lcm", False, 3.5, None, ["is a LCM model, which takes guidance up to 2; write 1"]),
        ("lcm", True, 8, None, []),
        ("lcm", True, 20, None, ["is a LCM model, which is told a scale up to 15; write 8"]),
        ("lcm", True, 8, "words (dsi)", ["choose template, contextual or a file"]),
        (None, False, 20, "a LoRA", []),
    ],
)
def test_guidance_and_words_that_make_no_sense(
    method: Any, embeds: bool, scale: float, learns: Any, sentences: list[str]
):
    distillation = method and of_method(method, "x_4step_unet.safetensors", embeds_scale=embeds)
    found = list(set_faults(distillation, "synthetic.s", scale, learns=learns))
    if learns and found:
        assert "synthetic.s learns words (dsi), but the generator is a LCM model" in found[0]
    assert len(found) == len(sentences)
    for fault, sentence in zip(found, sentences, strict=True):
        assert sentence in fault
