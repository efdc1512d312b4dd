"""The command that writes the hub's commits of today, against a hub on loopback."""

import os
import subprocess
import sys

import pytest

from house import ROOT
from synthbridge.commands.pin import find_unpinned
from synthbridge.core.settings import read_yaml
from synthbridge.editing import with_items, with_value
from synthbridge.params import read_params
from upstream.hub_on_loopback import COMMIT, Repository, serve

OTHER = "f" * 40
GENERATOR = "stable-diffusion-v1-5/stable-diffusion-v1-5"
CLIP = "openai/clip-vit-large-patch14"
BACKBONE = "timm/resnet18.tv_in1k"
HUB_YAML = "# mine\nid: me/birds\ntest: test  # theirs\n"


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The paper's settings, for a data set of the hub, in a folder that passes for a clone."""
    (tmp_path / "dvc.yaml").touch()
    text = (ROOT / "profiles" / "paper.yaml").read_text(encoding="utf-8")
    text = with_value(text, "data.aircraft.source", "huggingface")
    (tmp_path / "params.yaml").write_text(with_value(text, "upstream.clip.revision", "v1"))
    (tmp_path / "data" / "raw" / "aircraft").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "aircraft" / "hub.yaml").write_text(HUB_YAML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _serve_all(hub, folder):
    for name, commit in (("me/birds", OTHER), (GENERATOR, COMMIT), (BACKBONE, COMMIT)):
        hub.repositories[name] = Repository(folder, commit=commit)
    hub.repositories[CLIP] = Repository(folder, branches={"v1": OTHER})


def _pin(hub, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "src"), "pin", *arguments],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": "home",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _files(scratch):
    return [path.read_text() for path in (scratch / "params.yaml", *scratch.glob("data/raw/*/*"))]


def test_weights_on_top_of_a_generator_are_pinned_too(scratch):
    file = scratch / "params.yaml"
    line = f"    hub: {GENERATOR}"
    weights = "\n    weights: {hub: b/lcm, revision: , file: a.safetensors, distilled: }"
    head, tail = file.read_text().split(line)
    rest = tail.partition("\n")[2]
    file.write_text(f"{head}{line}{weights}\n{rest}")
    found = {unpinned.key: unpinned.repository for unpinned in find_unpinned(read_params())}
    assert found["upstream.generator.weights.revision"] == "b/lcm"
    assert found["upstream.generator.revision"] == GENERATOR
    text = with_value(file.read_text(), "upstream.generator.weights.revision", COMMIT)
    file.write_text(text)
    assert "upstream.generator.weights.revision" not in {
        unpinned.key for unpinned in find_unpinned(read_params())
    }


def test_all_missing_commits_are_written_and_nothing_else(hub, scratch):
    before, _ = _files(scratch)
    _serve_all(hub, scratch)
    (scratch / "data" / "raw" / "aircraft.dvc").touch()
    done = _pin(hub)
    assert done.returncode == 0, done.stderr
    expected = before
    for name, commit in (("clip", OTHER), ("generator", COMMIT), ("backbone", COMMIT)):
        expected = with_value(expected, f"upstream.{name}.revision", commit)
    assert _files(scratch) == [expected, f"{HUB_YAML}revision: {OTHER}\n"]
    assert expected.count("#") == before.count("#")
    assert find_unpinned(read_params()) == []
    assert f"upstream.clip.revision for the model {CLIP} at v1: {OTHER}" in done.stdout
    assert "run 'dvc add data/raw/aircraft'" in done.stdout
    hub.repositories.clear()  # nothing is left to ask
    assert "nothing to pin" in _pin(hub).stdout


def test_a_dry_run_says_it_and_writes_nothing(hub, scratch):
    before = _files(scratch)
    _serve_all(hub, scratch)
    done = _pin(hub, "--dry-run")
    assert done.returncode == 0 and done.stdout.count(COMMIT) == done.stdout.count(OTHER) == 2
    assert _files(scratch) == before


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to ask the hub"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 did not give"),
    ],
)
def test_offline_it_says_what_it_would_have_asked(hub, scratch, environment, reason):
    before = _files(scratch)
    done = _pin(hub, **environment)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert reason in done.stderr and "It would have asked for:" in done.stderr
    for asked in (f"the model {GENERATOR}", f"{CLIP} at v1", BACKBONE, "data set me/birds"):
        assert asked in done.stderr
    assert _files(scratch) == before


def test_what_the_hub_does_not_have_is_said_at_once_for_all(hub, scratch):
    before = _files(scratch)
    _serve_all(hub, scratch)
    del hub.repositories[GENERATOR], hub.repositories["me/birds"]
    hub.repositories[CLIP].branches.clear()
    done = _pin(hub)
    assert done.returncode == 1
    assert f"upstream.generator: {hub.endpoint} has no {GENERATOR}, or keeps" in done.stderr
    assert f"hub.yaml: {hub.endpoint} has no datasets/me/birds, or keeps" in done.stderr
    assert f"upstream.clip.revision is 'v1', which {CLIP} does not have" in done.stderr
    assert _files(scratch) == before


def test_what_is_local_or_not_used_needs_no_commit(scratch):
    (scratch / "data" / "raw" / "aircraft" / "me" / "birds").mkdir(parents=True)
    text = (scratch / "params.yaml").read_text()
    for name in ("generator", "clip", "backbone"):
        text = with_value(text, f"upstream.{name}.revision", COMMIT)
    (scratch / "params.yaml").write_text(text)
    assert find_unpinned(read_params()) == []
    (scratch / "params.yaml").write_text(with_items(text, "datasets", ["cars"]))
    (scratch / "data" / "raw" / "aircraft" / "hub.yaml").write_text("wrong: 1\n")
    assert find_unpinned(read_params()) == []


def test_the_embedded_default_takes_nothing_from_the_hub():
    assert find_unpinned(read_params(ROOT / "params.yaml")) == []
    assert "hub" not in str(read_yaml(ROOT / "params.yaml")["upstream"])
