"""dvc.yaml fits the code: deps cover imports, no dep is a parent of outs, params fit."""

import re

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from house import PACKAGE, ROOT, closure
from synthbridge.params import STAGES, read_params

PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

# They check or print, and decide no byte of any output; values are tracked as params.
SILENT = {
    "settings.py", "progress.py", "params.py", "launch.py", "gpus.py", "rates.py", "costs.py",
    "training_counts.py", "__init__.py",
}  # fmt: skip


def _module(stage: str) -> str:
    return re.match(r"python src (\w+)", PIPELINE[stage]["cmd"])[1]


@pytest.mark.parametrize("stage", PIPELINE)
def test_stage_runs_the_module_it_is_named_for(stage):
    assert stage == _module(stage) or stage.startswith(f"{_module(stage)}_")
    assert (PACKAGE / "stages" / f"{_module(stage)}.py").is_file()
    assert PIPELINE[stage]["desc"]


def test_every_stage_module_is_run():
    assert {_module(stage) for stage in PIPELINE} == set(STAGES)


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_cover_the_import_closure(stage):
    deps = [ROOT / dep for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
    for path in closure(PACKAGE / "stages" / f"{_module(stage)}.py"):
        if path.name in SILENT:
            continue
        covered = any(path == dep or dep in path.parents for dep in deps)
        assert covered, f"{stage} imports {path.relative_to(ROOT)}, which is none of its deps"


@pytest.mark.parametrize("stage", PIPELINE)
def test_code_deps_are_imported(stage):
    """A dep that nothing imports would rerun the stage for nothing."""
    files = closure(PACKAGE / "stages" / f"{_module(stage)}.py")
    for dep in PIPELINE[stage]["deps"]:
        if dep.startswith("src/"):
            path = ROOT / dep
            assert path.exists()
            used = path in files or any(path in file.parents for file in files)
            assert used, f"{stage} does not import {dep}"


def refuse_parent_deps(stages) -> None:
    """Raise where a dep is a folder that holds other stages' outs.

    Such a dep keeps what a removed item left behind, and is empty in a fresh clone.
    """
    outs = {out.fs_path for stage in stages for out in stage.outs}
    for stage in stages:
        for dep in stage.deps:
            inside = [out for out in outs if out.startswith(f"{dep.fs_path}/")]
            if inside:
                raise ValueError(f"{stage.addressing}: dep {dep} holds outs: {inside[:2]}")


def test_no_dep_is_a_parent_of_outs():
    stages = Repo(str(ROOT)).index.stages
    assert len(stages) >= 30
    refuse_parent_deps(stages)


def test_a_parent_dep_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  make:\n    cmd: mkdir -p d\n    outs:\n    - d/a\n"
        "  read:\n    cmd: ls d\n    deps:\n    - d\n"
    )
    with pytest.raises(ValueError, match="read: dep d holds outs"):
        refuse_parent_deps(Repo(str(tmp_path)).index.stages)


def test_every_dep_is_one_stages_out_or_a_tracked_file():
    repo = Repo(str(ROOT))
    outs = {out.fs_path for stage in repo.index.stages for out in stage.outs}
    for stage in repo.index.stages:
        for dep in stage.deps:
            if dep.protocol == "local" or dep.fs_path:
                is_code = dep.fs_path.startswith(str(ROOT / "src"))
                # Put there by a person, or kept in git.
                is_given = dep.fs_path.startswith(
                    (str(ROOT / "data" / "raw"), str(ROOT / "data" / "prompts"))
                )
                assert is_code or is_given or dep.fs_path in outs or "params.yaml" in dep.fs_path


def test_hardware_is_no_parameter():
    text = (ROOT / "params.yaml").read_text() + (ROOT / "dvc.yaml").read_text()
    for word in ("num_processes", "device:", "cuda", "num_workers", "micro_batch", "accelerate"):
        assert word not in text


def test_params_fit_their_settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    params = read_params()
    assert set(params.sets) <= {*params.synthetic, *params.retrieved}


def test_what_people_read_stays_in_git():
    for name, stage in PIPELINE.items():
        for kind in ("metrics", "plots", *(["outs"] if name == "report" else [])):
            for entry in stage.get(kind, []):
                assert [*entry.values()][0]["cache"] is False
