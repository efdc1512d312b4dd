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
    scratch.git(*shlex.split(_line('git commit -am "Add my data"'))[1:])
    run = (*shlex.split(_line("dvc exp run"))[1:], "prepare@mine")
    assert "made 3 classes, 15 train images, 15 validation images, 60 test images" in scratch.dvc(
        *run
    )
    assert "prepare@mine' didn't change" in scratch.dvc(*run)
    (scratch.folder / "data/raw/mine/names.yaml").write_text("AmericanCrow: crow\n")
    assert "made 3 classes" in scratch.dvc(*run)
    facts = read_json(scratch.folder / "data/real/mine/dataset.json")
    assert facts["class_names"] == ["crow", "house sparrow", "rook"]
    assert "data/raw/mine/" not in scratch.git("status", "--short", "-uall")
