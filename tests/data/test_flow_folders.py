"""Folders of flow-matching generators: which we read, told by their configurations alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import SAVED, save_sd3

from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.generator_folders import check_configs, check_weights, read_config
from synthbridge.diffusion.loading import load_generator


def change(folder: Path, config: str, **values: Any) -> None:
    settings = {**read_config(folder, config), **values}
    (folder / config).write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: SAVED[name](tmp_path_factory.mktemp(name)) for name in ("sd3", "schnell", "klein")
    }


@pytest.fixture
def sd3(saved: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(saved["sd3"], tmp_path / "sd3")


@pytest.fixture
def schnell(saved: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(saved["schnell"], tmp_path / "schnell")


def test_each_is_known_and_whole(saved: dict[str, Path]):
    names = {}
    for name, folder in saved.items():
        family = check_configs(folder, "mine")
        check_weights(folder, family)
        names[name] = family.name
    assert names == {
        "sd3": "Stable Diffusion 3 and 3.5",
        "schnell": "FLUX.1",
        "klein": "FLUX.2 klein",
    }


def test_how_each_was_distilled_is_read(saved: dict[str, Path], sd3: Path, schnell: Path):
    read = {name: read_distillation(folder) for name, folder in saved.items()}
    assert read["sd3"] is None
    assert read["schnell"] == Distillation("FLUX.1-schnell", ("euler",), (1, 8), "none", 1.0)
    assert read["klein"] == Distillation("FLUX.2-klein", ("euler",), (1, 8), "none", 1.0)
    change(schnell, "transformer/config.json", guidance_embeds=True)
    assert read_distillation(schnell) is None  # FLUX.1-dev
    change(sd3, "model_index.json", _class_name="ZImagePipeline")  # shifted by 3
    assert read_distillation(sd3) == Distillation("Z-Image-Turbo", ("euler",), (1, 16), "none", 1.0)
    change(sd3, "scheduler/scheduler_config.json", shift=6.0)
    assert read_distillation(sd3) is None  # its base


def test_sd3_may_lack_its_t5_if_its_index_says_so(sd3: Path):
    for part in ("tokenizer_3", "text_encoder_3"):
        shutil.rmtree(sd3 / part)
    with pytest.raises(ValueError, match="it has no tokenizer_3, text_encoder_3; name the folder"):
        check_configs(sd3, "mine")
    change(sd3, "model_index.json", text_encoder_3=[None, None], tokenizer_3=[None, None])
    family = check_configs(sd3, "mine")
    check_weights(sd3, family)
    assert not any("_3" in name for name in (*family.configs, *family.weights, *family.optional))
    assert len(load_generator(sd3).text_encoders) == 2


def test_other_parts_must_be_there(schnell: Path):
    shutil.rmtree(schnell / "text_encoder_2")
    change(schnell, "model_index.json", text_encoder_2=[None, None])
    with pytest.raises(ValueError, match="no whole FluxPipeline .* it has no text_encoder_2; name"):
        check_configs(schnell, "mine")


def test_a_tokenizer_that_needs_sentencepiece_is_refused(schnell: Path):
    (schnell / "tokenizer_2/tokenizer.json").rename(schnell / "tokenizer_2/spiece.model")
    with pytest.raises(ValueError, match=r"it has no tokenizer_2/tokenizer\.json"):
        check_configs(schnell, "mine")


@pytest.mark.parametrize(
    ("config", "values", "sentence"),
    [
        (
            "transformer/config.json",
            {"in_channels": 384},  # FLUX.1-Fill
            r"mine draws from 384 channels and its VAE gives 16, where it should be 4 for each: it",
        ),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "DPMSolverMultistepScheduler"},
            "mine is sampled by a DPMSolverMultistepScheduler, which is not supported; choose a",
        ),
        (
            "scheduler/scheduler_config.json",
            {"stochastic_sampling": True},
            "mine is sampled with stochastic_sampling, which is not supported; set it to false in",
        ),
        ("model_index.json", {"_class_name": "FluxControlPipeline"}, "which diffusers has and we"),
        ("model_index.json", {"_class_name": "Flux9Pipeline"}, "mine is a Flux9Pipeline, which we"),
    ],
)
def test_what_it_is_instead_is_said(schnell: Path, config: str, values: Any, sentence: str):
    change(schnell, config, **values)
    with pytest.raises(ValueError, match=sentence):
        check_configs(schnell, "mine")


def test_a_tiny_sd3_is_saved_without_t5_as_diffusers_saves_it(tmp_path: Path):
    index = read_config(save_sd3(tmp_path, has_t5=False), "model_index.json")
    assert index["text_encoder_3"] == [None, None] == index["tokenizer_3"]
