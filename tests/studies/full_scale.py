"""The paper's profile as a study's `full.prepare` makes it; definitions with all models pinned."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from house import ROOT
from synthbridge.commands.profile import LARGEST_VOLUME, compose
from synthbridge.core.files import write_text
from synthbridge.core.settings import check_settings
from synthbridge.params import Params
from synthbridge.pipeline import fit
from synthbridge.studies.definition import Scale
from synthbridge.studies.planning import Workspace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("upstream.backbone.revision", "upstream.generator.revision")
OWN_DATA = {"source": "folder", "flip": True, "validation_per_class": 50, "seed": 0}


def full_workspace(root: Path, prepare: str | None) -> Workspace:
    """Do in `root` what `prepare` says, with every model of the profile pinned."""
    assert prepare
    words = re.search(r"python src profile paper([^&,]*)", prepare)
    assert words
    datasets, _, shots = words[1].partition("--shots")
    text = (ROOT / "profiles/paper.yaml").read_text(encoding="utf-8")
    text = compose(text, datasets.split(), shots.split(), False)
    values = YAML(typ="safe").load(re.sub("revision: null", f"revision: '{COMMIT}'", text))
    if own := re.search(r"datasets: \[(\w+)\]", prepare):
        values["datasets"] = [own[1]]
        values["data"][own[1]] = OWN_DATA
    if "a retrieved set" in prepare:
        values["retrieved_sets"] = ["retrieved"]
        values["sets"] = [*values["sets"], "retrieved"]
    params = check_settings(Params, values, "")
    YAML().dump(values, root / "params.yaml")
    pipeline = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    write_text(root / "dvc.yaml", fit(pipeline, params, largest_volume=LARGEST_VOLUME))
    for folder in ("src", "data"):
        (root / folder).symlink_to(ROOT / folder)
    return Workspace(root)


def pinned(scale: Scale) -> Scale:
    """Write a commit wherever the definition leaves it to the user."""

    def pin(overrides: dict[str, Any]) -> dict[str, Any]:
        return {key: COMMIT if key in REVISIONS else value for key, value in overrides.items()}

    points = [one.model_copy(update={"overrides": pin(one.overrides)}) for one in scale.points]
    return scale.model_copy(update={"overrides": pin(scale.overrides), "points": points})
