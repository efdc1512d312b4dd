"""docs/own-data.md to the letter, in a scratch clone, as far as the stage that is about one's data.

The whole pipeline on own data takes minutes; what follows `prepare` is the same for all data.
"""

import re
import shlex

from ruamel.yaml import YAML
from scratch import clone_working_tree

from house import ROOT
from own_data import class_folders
from synthbridge.core.files import read_json
from synthbridge.params import read_params
from synthbridge.pipeline import check_params

GUIDE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


def _group():
    """Return the group that the guide says to add to params.yaml."""
    text = re.search(r"```yaml\n(data:\n.*?)```", GUIDE, re.DOTALL)[1]
    return YAML(typ="safe").load(text)["data"]["mine"]


def _line(start):
    """Return the guide's own line that starts so."""
    return next(line for line in GUIDE.splitlines() if line.startswith(start))


def test_the_guide_works(tmp_path):
    scratch = clone_working_tree(tmp_path / "clone")
    class_folders(scratch.folder / "data/raw/mine", 30)
    scratch.dvc("add", "data/raw/mine")
    scratch.git("add", "data/raw/mine.dvc")
    scratch.change({"data.mine": _group(), "datasets": ["mine"]})
    scratch.run(*shlex.split(_line("python src sets remove retrieved")))
    scratch.git(*shlex.split(_line('git commit -am "Add my data"'))[1:])
    run = (*shlex.split(_line("dvc repro"))[1:], "prepare@mine")
    assert "made 3 classes, 15 train images, 15 validation images, 60 test images" in scratch.dvc(
        *run
    )
    assert "prepare@mine' didn't change" in scratch.dvc(*run)
    (scratch.folder / "data/raw/mine/names.yaml").write_text("AmericanCrow: crow\n")
    assert "made 3 classes" in scratch.dvc(*run)
    facts = read_json(scratch.folder / "data/real/mine/dataset.json")
    assert facts["class_names"] == ["crow", "house sparrow", "rook"]
    assert "data/raw/mine/" not in scratch.git("status", "--short", "-uall")


def test_retrieved_images_without_a_generator_get_a_verdict_by_the_guides_lines(
    tmp_path, monkeypatch
):
    scratch = clone_working_tree(tmp_path / "clone")
    class_folders(tmp_path / "photos", 20)
    start = f"python src start mine {tmp_path / 'photos'} --gpu none --yes"
    scratch.run(*shlex.split(start))
    primary = re.search(r"`(\{arm: bridged, method: retrieved.*?\})`", GUIDE)[1]
    params = scratch.folder / "params.yaml"
    text = params.read_text().replace("search: clip ", "search: caption ")
    params.write_text(text.replace("primary: null", f"primary: {primary}"))
    scratch.run(*shlex.split(_line("  python src sets add retrieved")))
    monkeypatch.chdir(scratch.folder)
    assert check_params() == []
    settings = read_params()
    assert settings.retrieved["retrieved"].search == "caption"
    assert settings.report.primary.method == "retrieved" and settings.sets == ["retrieved"]
    assert settings.retrieved["retrieved"].pool == "data/raw/pool"
