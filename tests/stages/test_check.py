import subprocess
import sys

import pytest

from house import ROOT
from synthbridge.stages.check import check


def test_each_data_set_that_lies_nowhere_is_named(tmp_path):
    (tmp_path / "raw" / "digits").mkdir(parents=True)
    (tmp_path / "real" / "pulled").mkdir(parents=True)  # prepared elsewhere, and pulled
    check(["digits", "pulled"], data=tmp_path)
    with pytest.raises(ValueError) as error:
        check(["digits", "sings", "brids"], data=tmp_path)
    first, *lines = str(error.value).split("\n  ")
    assert not first and len(lines) == 2
    assert lines[0] == (
        f"{tmp_path}/raw/sings does not exist: put the images of 'sings' there, or correct the "
        "name in datasets (docs/own-data.md)"
    )


def test_the_stage_ends_in_one_sentence(tmp_path):
    """As DVC runs it, first of all stages; DVC itself would say `[Errno 2]`."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    command = [sys.executable, ROOT / "src", "check", "--data", "data"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("check: data/raw/digits does not exist: put the images of 'd")
