import json
import subprocess

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from synthbridge.core.files import read_json
from synthbridge.studies.experiments import (
    Experiment,
    find_commit,
    is_known,
    read_found,
    refuse_changes,
    set_options,
)
from synthbridge.studies.planning import with_overrides

PARAMS = {
    "a": 1,
    "text": "x",
    "none": None,
    "group": {"kept": {"b": 2}, "arms": {"old": [{"train_on": "real"}]}},
    "shots": [1, 4],
}
OVERRIDES = {
    "a": 2.5,
    "text": "it's <style>, so",
    "none": "full",
    "shots": [4, "full"],
    "group.arms": {"new": [{"stage_one": "plain"}, {"train_on": "real", "fresh_head": True}]},
    "group.kept.c": None,
    "more": {"d": {"e": 1e-05}},
}


def test_overrides_reach_params_as_they_are_through_dvc_itself(tmp_path, monkeypatch):
    """What we predict is what `dvc exp run -S` writes."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init()
    YAML().dump(PARAMS, tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages:\n  s:\n    cmd: echo\n    params:\n    - a\n")
    exists = {"a": 1, "text": "x", "none": None, "shots": [1, 4], "group.arms": {"old": []}}
    options = set_options(OVERRIDES, exists)
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides

    (file,) = (parsed := to_path_overrides(options))
    apply_overrides(file, parsed[file])
    written = YAML(typ="safe").load(tmp_path / "params.yaml")
    assert written == with_overrides(PARAMS, OVERRIDES)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with one finished experiment, study-abc."""
    monkeypatch.chdir(tmp_path)

    def git(*words):
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/a.json").write_text(json.dumps({"vanilla": 1}))
    git("add", "-A")
    git("commit", "-q", "-m", "m")
    git("update-ref", "refs/exps/12/345/study-abc", "HEAD")
    return git("rev-parse", "HEAD")


def _experiment(name="study-abc", metrics=("metrics/a.json",)):
    return Experiment(name, ("s",), ("a=1",), metrics, frozenset())


def test_a_finished_experiment_is_found_by_name_and_recorded(repository, tmp_path):
    assert find_commit("study-abc") == repository and find_commit("study-ab") is None
    assert is_known(_experiment()) and not is_known(_experiment("study-x"))
    found = read_found(_experiment())
    assert (found.experiment, found.commit) == ("study-abc", repository)
    assert found.metrics == {"metrics/a.json": {"vanilla": 1}}
    record = read_json(tmp_path / "metrics/studies/points/study-abc.json")
    assert record["targets"] == ["s"] and record["options"] == ["a=1"]


def test_a_record_serves_where_git_has_no_experiment(repository):
    """As in a fresh clone: git does not bring refs/exps along."""
    read_found(_experiment())
    subprocess.run(["git", "update-ref", "-d", "refs/exps/12/345/study-abc"], check=True)
    assert find_commit("study-abc") is None and is_known(_experiment())
    assert read_found(_experiment()).commit == repository


def test_an_experiment_without_its_metrics_is_refused(repository):
    with pytest.raises(ValueError, match="git show: .*b.json"):
        read_found(_experiment(metrics=("metrics/b.json",)))


def test_changes_that_git_has_not_kept_are_refused(repository, tmp_path):
    (tmp_path / "params.yaml").write_text("a: 1\n")
    subprocess.run(["git", "add", "params.yaml"], check=True)
    with pytest.raises(ValueError, match=r"changes of params.yaml; commit them first"):
        refuse_changes()
