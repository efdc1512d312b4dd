"""Who may import whom: the walls of the house, for our modules and for foreign libraries."""

import pytest

from house import PACKAGE, imports

WINGS = ("data", "diffusion", "clip", "prompts", "training", "evidence", "studies", "upstream")

# The foreign libraries that only these wings may know.
OWNERS = {
    "diffusers": {"diffusion", "upstream"},
    "transformers": {"clip", "diffusion", "prompts", "upstream"},
    "faiss": {"clip"},
    "torchmetrics": {"evidence"},
    "timm": {"training", "upstream"},
    "huggingface_hub": {"data", "upstream"},
    "accelerate": {"training", "stages"},
    "pandas": {"evidence", "stages"},
    "jinja2": {"evidence"},
    "datasets": {"data"},
    "webdataset": {"data"},
    "argparse": {"stages"},
}
# What upstream, which builds the miniature world, and studies may take from other wings.
MAY = {
    "upstream": ("synthbridge.data.shards", "synthbridge.diffusion.prompts"),
    "studies": ("synthbridge.evidence.figures",),  # one look for every plot
}

FILES = sorted(PACKAGE.rglob("*.py"))


def _wing(path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_keeps_the_walls(path):
    wing = _wing(path)
    for name in imports(path):
        if name.startswith("synthbridge."):
            target = name.split(".")[1]
            if wing != "stages":
                assert target != "stages", f"{path} imports the stages"
            if wing == "" or (wing in WINGS and target in WINGS and target != wing):
                allowed = name.startswith(MAY.get(wing, ()))
                assert allowed or target not in WINGS, f"{path} reaches into {target}"
        library = name.split(".")[0]
        assert wing in OWNERS.get(library, {wing}), f"{path} imports {library}"


SHARED_BY_STAGES = {
    "arm_trainer", "candidates", "costs", "dataset_work", "embeddings", "estimates", "gpus",
    "launch", "learned_files", "measuring", "params", "pictures", "pipeline", "pool_search",
    "processes", "rates", "rates_of_backbone", "rates_of_generator", "rates_of_miniature",
    "run_metrics", "sizes", "stopwatch", "training_counts", "trainings",
}  # fmt: skip


def test_stages_do_not_import_one_another():
    for path in (PACKAGE / "stages").glob("*.py"):
        for name in imports(path):
            if name.startswith("synthbridge.stages."):
                assert name.split(".")[2] in SHARED_BY_STAGES, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_settings_import_no_heavy_library(path):
    if path.name == "settings.py":
        foreign = {name.split(".")[0] for name in imports(path)}
        light = {"collections", "dataclasses", "pathlib", "pydantic", "pydantic_core", "re"}
        assert foreign <= light | {"ruamel", "synthbridge", "typing"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
