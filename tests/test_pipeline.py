"""dvc.yaml: it is written for the sets, expanded as DVC does it, and fits the code."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from house import PACKAGE, ROOT
from synthbridge.__main__ import STAGES
from synthbridge.core.keys import import_closure, imported_files, module_file
from synthbridge.core.settings import Sections, check_settings, read_yaml
from synthbridge.params import Params, read_params
from synthbridge.pipeline import (
    check_sets,
    expand,
    fit,
    needed_stages,
    value_at,
)
from synthbridge.studies.planning import with_overrides

TEXT = (ROOT / "dvc.yaml").read_text()
PIPELINE = read_yaml(ROOT / "dvc.yaml")
VALUES = read_yaml(ROOT / "params.yaml")
DSI_8 = {**VALUES["synthetic"]["dsi_4"], "shots": 8}


# --- writing -------------------------------------------------------------------------------------


def _changed(changes):
    """Return params.yaml with changes, as values and checked."""
    values = with_overrides(VALUES, changes)
    return values, check_settings(Params, values, "")


def _parsed(text):
    return YAML(typ="safe").load(text)


@pytest.fixture
def known_to_dvc(tmp_path, monkeypatch):
    """Lets DVC read these files in a folder of their own; gives its stages by name."""
    monkeypatch.chdir(tmp_path)

    def read(text, values):
        (tmp_path / "dvc.yaml").write_text(text)
        YAML().dump(values, tmp_path / "params.yaml")
        repo = Repo.init(str(tmp_path), no_scm=True)
        return {stage.addressing: stage for stage in repo.index.stages}

    return read


def _assert_dvc_agrees(stages, known):
    """Check our expansion: the same names, commands, deps, outs and params as DVC resolves."""
    assert set(stages) == set(known)
    for name, stage in stages.items():
        theirs = known[name]
        deps = [dep.def_path for dep in theirs.deps if not hasattr(dep, "params")]
        assert sorted(stage.deps) == sorted(deps), name
        assert sorted(stage.outs) == sorted(out.def_path for out in theirs.outs), name
        metrics = [out.def_path for out in theirs.outs if out.metric]
        assert sorted(stage.metrics) == sorted(metrics), name
        params = [key for dep in theirs.deps for key in getattr(dep, "params", [])]
        assert sorted(stage.params) == sorted(params), name
        assert stage.cmd == theirs.cmd


def test_the_committed_pipeline_fits_and_stays():
    params = read_params(ROOT / "params.yaml")
    num_blocks = PIPELINE["vars"][0]["num_blocks"]
    volume = num_blocks * params.generate.images_per_block
    assert fit(TEXT, params) == TEXT
    assert fit(TEXT, params, largest_volume=volume) == TEXT
    check_sets(params, PIPELINE)


SETS = {
    "a generated set more": {
        "sets": [*VALUES["sets"], "dsi_8"],
        "generated_sets": [*VALUES["generated_sets"], "dsi_8"],
        "synthetic.dsi_8": DSI_8,
    },
    "a generated set less": {
        "sets": ["template", "retrieved"],
        "generated_sets": ["template"],
    },
    "a retrieved set more": {
        "sets": [*VALUES["sets"], "found"],
        "retrieved_sets": ["retrieved", "found"],
        "retrieved.found": VALUES["retrieved"]["retrieved"],
    },
    "no retrieved set": {
        "sets": VALUES["generated_sets"],
        "retrieved_sets": [],
    },
    "sets for CLIP": {"clip_tuning.sets": ["template", "retrieved"]},
    "real images alone": {"sets": [], "generated_sets": [], "retrieved_sets": []},
}


@pytest.mark.parametrize("changes", SETS.values(), ids=list(SETS))
def test_stages_read_just_the_sets(known_to_dvc, changes):
    values, params = _changed(changes)
    with pytest.raises(ValueError, match="run 'python src sets'"):
        check_sets(params, PIPELINE)
    text = fit(TEXT, params)
    check_sets(params, _parsed(text))
    assert fit(text, params) == text

    known = known_to_dvc(text, values)
    _assert_dvc_agrees(expand(_parsed(text), values), known)
    named = {}
    for stage in ("probe", "report", "deliver"):
        paths = [dep.def_path for dep in known[f"{stage}@digits"].deps]
        made = [path for path in paths if path.startswith("data/") and path in _outs(known)]
        for path in made:
            if match := re.fullmatch(r"data/(\w+(?:/\w+)*)/digits/(.+)", path):
                named.setdefault((stage, match[1]), []).append(match[2])
    sets = params.sets
    assert named.pop(("probe", "stage_one"), []) == sets
    assert named.pop(("report", "examined"), []) == [f"{name}/findings" for name in sets]
    assert named.pop(("report", "sets"), []) == [f"{name}/b0" for name in sets]
    assert named.pop(("report", "styles"), []) == params.generated_sets
    results = [f"{family}/{name}" for family in ("mixed", "bridged") for name in sets]
    for kind in ("models", "results"):
        assert sorted(named.pop(("deliver", kind))) == sorted([*results, "real"])
    results += [f"clip_set/{name}" for name in params.clip_tuning.sets]
    assert sorted(named.pop(("report", "results"))) == sorted([*results, "clip", "real"])
    assert not named


def _outs(known):
    return {out.def_path for stage in known.values() for out in stage.outs}


def _comments(text):
    return re.findall(r"(?<=\s)#.*", text)


@pytest.mark.parametrize("changes", SETS.values(), ids=list(SETS))
def test_comments_and_all_other_lines_stay(changes):
    _, params = _changed(changes)
    text = fit(TEXT, params)
    assert _comments(text) == _comments(TEXT)
    lines = [line for line in text.splitlines() if not line.startswith("    - data/")]
    assert lines == [line for line in TEXT.splitlines() if not line.startswith("    - data/")]
    back = fit(text, read_params(ROOT / "params.yaml"))
    assert sorted(back.splitlines()) == sorted(TEXT.splitlines())


def test_each_data_set_has_its_model_in_the_registry(known_to_dvc):
    """As DVC, and GTO behind it, reads artifacts."""
    values, params = _changed(
        {"datasets": ["mine", "digits"], "data.mine": VALUES["data"]["digits"]}
    )
    text = fit(TEXT, params)
    assert fit(text, params) == text and "&" not in text
    known_to_dvc(text, values)
    (artifacts,) = Repo().artifacts.read().values()
    assert list(artifacts) == ["mine", "digits"]
    for name, found in artifacts.items():
        assert (found.path, found.type) == (f"data/delivered/{name}", "model")
        assert "timm" in found.labels
    outs = {out for stage in expand(_parsed(text), values).values() for out in stage.outs}
    assert {found.path for found in artifacts.values()} <= outs
    assert fit(text, read_params(ROOT / "params.yaml")) == TEXT


@pytest.mark.parametrize("num_blocks", [1, 5])
def test_blocks_are_named_everywhere(known_to_dvc, num_blocks):
    values, params = _changed({"clip_tuning.sets": ["dsi_1"]})
    volume = num_blocks * params.generate.images_per_block - 1
    text = fit(TEXT, params, largest_volume=volume)
    pipeline = _parsed(text)
    stages = expand(pipeline, values)
    _assert_dvc_agrees(stages, known_to_dvc(text, values))

    blocks = [f"b{number}" for number in range(num_blocks)]
    assert pipeline["vars"] == [{"num_blocks": num_blocks}]
    assert pipeline["stages"]["generate"]["matrix"]["block"] == blocks
    of_sets = {
        "plan@digits-dsi_1": ("outs", "data/plan/digits/dsi_1/{}.json"),
        "retrieve@digits-retrieved": ("outs", "data/sets/digits/retrieved/{}"),
        "sift@digits-dsi_1": ("deps", "data/sets/digits/dsi_1/{}"),
        "examine@digits-dsi_1": ("deps", "data/sets/digits/dsi_1/{}"),
        "bridge@digits-dsi_1": ("deps", "data/sets/digits/dsi_1/{}"),
        "finetune_mixed@digits-dsi_1": ("deps", "data/sets/digits/dsi_1/{}"),
        "tune_clip_set@digits-dsi_1": ("deps", "data/sets/digits/dsi_1/{}"),
    }
    for name, (kind, path) in of_sets.items():
        folder, _, end = path.partition("{}")
        paths = [item for item in getattr(stages[name], kind) if item.startswith(f"{folder}b")]
        assert paths == [f"{folder}{block}{end}" for block in blocks], name
        assert name.startswith("plan") or f"--num-blocks {num_blocks}" in stages[name].cmd
    # Whoever reads a block reads all of them; the report shows pictures of b0 alone.
    for name, stage in stages.items():
        paths = [path for path in stage.deps if re.search(r"/b\d+$", path)]
        wanted = ["b0"] if name.startswith("report") else blocks
        assert {path.split("/")[-1] for path in paths} in (set(), set(wanted)), name
    assert _comments(text) == _comments(TEXT)
    assert fit(text, params, largest_volume=3 * params.generate.images_per_block) == fit(
        TEXT, params
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ("a generated set more", "probe in dvc.yaml does not read .* has the set dsi_8"),
        ("a generated set less", "probe in dvc.yaml still reads .* not have the set dsi_1"),
        ("sets for CLIP", "report in dvc.yaml does not read .*/clip_set/template, though"),
    ],
)
def test_sets_that_the_pipeline_does_not_have_are_refused(changes, sentence):
    _, params = _changed(SETS[changes])
    with pytest.raises(ValueError, match=f"{sentence}.*; run 'python src sets'"):
        check_sets(params, PIPELINE)


# --- expanding -----------------------------------------------------------------------------------


SMALL = {
    "vars": [{"count": 2}],
    "stages": {
        "draw": {
            "matrix": {"set": "${sets}", "block": ["b0", "b1"]},
            "cmd": "draw ${item.set} --count ${count}",
            "deps": ["data/raw/x", "src/a.py"],
            "params": ["synthetic.${item.set}"],
            "outs": ["data/${item.set}/${item.block}"],
        },
        "judge": {
            "matrix": {"set": "${sets}"},
            "cmd": "judge",
            "deps": ["data/${item.set}/b0", "src/a.py"],
            "outs": ["data/models/${item.set}"],
            "metrics": [{"metrics/x/runs/${item.set}.json": {"cache": False}}],
        },
    },
}
SMALL_VALUES = {"sets": ["t", "u"]}


def test_the_matrix_is_filled_in():
    stages = expand(SMALL, SMALL_VALUES)
    draws = [f"draw@{name}-{block}" for name in "tu" for block in ("b0", "b1")]
    assert list(stages) == [*draws, "judge@t", "judge@u"]
    assert stages["draw@u-b1"].cmd == "draw u --count 2"
    assert stages["judge@u"].metrics == ("metrics/x/runs/u.json",)
    assert needed_stages(stages, ["judge@u"]) == ["draw@u-b0", "judge@u"]


def test_our_expansion_is_dvcs_own():
    known = {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages}
    tracked = {name: stage for name, stage in known.items() if not name.endswith(".dvc")}
    _assert_dvc_agrees(expand(PIPELINE, VALUES), tracked)


def test_what_no_stage_makes_is_refused():
    stages = expand(SMALL, SMALL_VALUES)
    with pytest.raises(ValueError, match="'judge@v' is no stage of dvc.yaml with these params"):
        needed_stages(stages, ["judge@v"])
    broken = {"stages": {"judge": SMALL["stages"]["judge"]}}
    with pytest.raises(ValueError, match="judge@t reads data/t/b0, which no stage makes"):
        needed_stages(expand(broken, SMALL_VALUES), ["judge@t"])


# --- code ----------------------------------------------------------------------------------------


def _module(stage: str) -> str:
    """Return the module that a stage of dvc.yaml runs."""
    match = re.match(r"python src (\w+)", PIPELINE["stages"][stage]["cmd"])
    assert match
    return match[1]


def _file(stage: str):
    return PACKAGE / "stages" / f"{_module(stage)}.py"


def _code_deps(stage: str):
    """List the files and folders of src that a stage depends on."""
    return [ROOT / dep for dep in PIPELINE["stages"][stage]["deps"] if dep.startswith("src/")]


@pytest.mark.parametrize("stage", PIPELINE["stages"])
def test_stage_runs_the_module_it_is_named_for(stage):
    assert stage == _module(stage) or stage.startswith(f"{_module(stage)}_")
    assert _file(stage).is_file()
    assert PIPELINE["stages"][stage]["desc"]


def test_the_entry_knows_the_stages_of_the_pipeline():
    assert {_module(stage) for stage in PIPELINE["stages"]} == set(STAGES)


@pytest.mark.parametrize("stage", PIPELINE["stages"])
def test_deps_cover_the_code(stage):
    """What decides a unit's key decides whether DVC runs the stage: the same closure."""
    deps = _code_deps(stage)
    for path in import_closure(_file(stage)):
        covered = any(path == dep or dep in path.parents for dep in deps)
        assert covered, f"{stage} imports {path.relative_to(ROOT)}, which is none of its deps"


@pytest.mark.parametrize("stage", PIPELINE["stages"])
def test_code_deps_are_used(stage):
    """A dep that nothing imports would rerun the stage for nothing."""
    files = import_closure(_file(stage))
    for dep in _code_deps(stage):
        assert dep.exists()
        used = dep in files or any(dep in file.parents for file in files)
        assert used, f"{stage} does not import {dep.relative_to(ROOT)}"


def _calls(path, name) -> Iterator[ast.Call]:
    """Yield the calls of a function in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name:
            yield node


def _maker(path, node: ast.expr) -> list:
    """Return the files that the maker of a unit may stand in: where its name is imported from.

    A maker that a function takes as its first argument is looked up in that function's callers.
    """
    while isinstance(node, ast.Attribute):  # Class.method
        node = node.value
    assert isinstance(node, ast.Name), f"{path}: name the maker of a unit"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom):
            for alias in found.names:
                if node.id == (alias.asname or alias.name):
                    return [module_file(found.module or "")]
    if any(getattr(found, "name", None) == node.id for found in tree.body):
        return [path]
    for found in tree.body:
        if isinstance(found, ast.FunctionDef) and node.id in [a.arg for a in found.args.args[:1]]:
            callers = list(_calls(path, found.name))
            return [file for call in callers for file in _maker(path, call.args[0])]
    raise AssertionError(f"{path}: where does {node.id} come from?")


@cache
def _makers():
    """Return the files of the makers of units, by the file that asks for a key."""
    makers = {}
    for path in PACKAGE.rglob("*.py"):
        for call in _calls(path, "unit_key"):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            makers.setdefault(path, []).extend(_maker(path, given["make"]))
    return makers


@pytest.mark.parametrize("stage", PIPELINE["stages"])
def test_keys_and_deps_agree(stage):
    """No key holds code that DVC does not know: else a unit would be made anew under an old lock.

    And no stage makes units without the code of their maker.
    """
    files = import_closure(_file(stage))
    for path, makers in _makers().items():
        if path in files:
            for maker in makers:
                assert maker.is_file()
                assert import_closure(maker) <= files, f"{stage} makes units of {maker}"


def test_the_makers_of_all_units_are_found():
    """So the test above looks at every kind of unit: whoever imports unit_key calls it by name."""
    keys = PACKAGE / "core" / "keys.py"
    asking = {
        path
        for path in PACKAGE.rglob("*.py")
        if keys in imported_files(path) and "unit_key" in path.read_text(encoding="utf-8")
    }
    assert asking == set(_makers())


# --- params --------------------------------------------------------------------------------------

# What a stage reads of params.yaml although none of its params covers it, by the stage and a
# pattern of keys, with the reason why a change of it need not run the stage.
IN_WHICH_GROUP = "says in which of the two groups the set's name stands"
WITH_ITS_IMAGES = "the set's images, and its name, change with it"
NOT_TRACKED = {
    ("invert", r"generate\.(classes_per_shard|compile|images_per_block|jpeg_quality)"): (
        "its samples are a grid, no shards"
    ),
    ("generate", r"generate\.images_per_block"): "plan has cut the blocks",
    ("sift", r"generated_sets"): IN_WHICH_GROUP,
    ("examine", r"generated_sets"): IN_WHICH_GROUP,
    ("examine", r"upstream\.clip\.\w+"): "its name is written down; its folder is a dep",
    ("finetune", r"retrieved_sets"): IN_WHICH_GROUP,
    ("finetune", r"synthetic\.\w+\.shots"): WITH_ITS_IMAGES,
    ("finetune", r"real_leg\.(learning_rates|select_on)"): "select has chosen the learning rate",
    ("tune_clip", r"retrieved_sets"): IN_WHICH_GROUP,
    ("tune_clip", r"synthetic\.\w+\.shots"): WITH_ITS_IMAGES,
    ("tune_clip", r"clip_tuning\.sets"): "DVC's matrix has taken it",
    ("tune_clip", r"clip_tuning\.synthetic_batch_size"): "tune_clip tunes on real images alone",
    ("probe", r"retrieved_sets"): IN_WHICH_GROUP,
    ("probe", r"synthetic\.\w+\.shots"): WITH_ITS_IMAGES,
}


class Spied(dict):
    """Values of params.yaml that note which keys are read."""

    def __init__(self, values, path, seen):
        super().__init__(values)
        self.path, self.seen = path, seen

    def __getitem__(self, key):
        return self._note(key, super().__getitem__(key))

    def get(self, key, default=None):
        return self._note(key, super().get(key, default))

    def _note(self, key, value):
        path = f"{self.path}.{key}" if self.path else key
        if not isinstance(value, dict):
            self.seen.add(path)
            return value
        return Spied(value, path, self.seen)


def _read_by_main(stage, params, monkeypatch):
    """Run a stage's main up to the stage itself; return the keys of params.yaml that it read."""
    module = importlib.import_module(f"synthbridge.stages.{_module(stage.name.split('@')[0])}")
    seen = set()
    read, init = Sections.read, Sections.__init__

    def spied_init(self, path=ROOT / "params.yaml"):
        init(self, path)
        self.values = Spied(params, "", seen)

    def spied_read(self, kind, section):
        seen.update(_leaves(params, section))
        seen.update(f"{section}.{field}" for field in getattr(kind, "model_fields", {}))
        values, self.values = self.values, params
        try:
            return read(self, kind, section)
        finally:
            self.values = values

    ran = []
    with monkeypatch.context() as patch:
        patch.setattr(Sections, "__init__", spied_init)
        patch.setattr(Sections, "read", spied_read)
        patch.setattr(module, module.__name__.split(".")[-1], lambda *_, **__: ran.append(1))
        module.main(shlex.split(stage.cmd)[3:])
    assert ran, f"{stage.name}: main did not call the stage"
    return seen


def _leaves(values, key):
    """List the dotted keys of all values below a key."""
    value = value_at(values, key)
    if isinstance(value, dict) and value:
        return [leaf for name in value for leaf in _leaves(values, f"{key}.{name}")]
    return [key]


def _is_tracked(key, params):
    return any(key == param or key.startswith(f"{param}.") for param in params)


def test_params_cover_what_stages_read(monkeypatch):
    params, _ = _changed({"clip_tuning.sets": ["template", "dsi_1", "retrieved"]})
    used = set()
    for name, stage in expand(PIPELINE, params).items():
        module = _module(name.split("@")[0])
        for key in _read_by_main(stage, params, monkeypatch):
            if _is_tracked(key, stage.params):
                continue
            if isinstance(value_at(params, key), dict):
                continue  # its own keys are looked at
            excuses = {e for e in NOT_TRACKED if e[0] == module and re.fullmatch(e[1], key)}
            assert excuses, f"{name} reads {key}, which is none of its params"
            used |= excuses
    assert used == set(NOT_TRACKED), "an exception that nothing needs any more"


# --- DVC -----------------------------------------------------------------------------------------


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
    assert {stage.addressing for stage in stages} >= set(expand(PIPELINE, VALUES))
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
    text = (ROOT / "params.yaml").read_text() + TEXT
    for word in ("num_processes", "device:", "cuda", "num_workers", "micro_batch", "accelerate"):
        assert word not in text


def test_params_fit_their_settings():
    params = read_params(ROOT / "params.yaml")
    assert set(params.sets) <= {*params.synthetic, *params.retrieved}


def test_what_people_read_stays_in_git():
    for name, stage in PIPELINE["stages"].items():
        for kind in ("metrics", "plots", *(["outs"] if name == "report" else [])):
            for entry in stage.get(kind, []):
                assert [*entry.values()][0]["cache"] is False


def test_a_pool_is_searched_before_anything_is_learned_or_drawn():
    """DVC runs stages in the file's order: a pool without the classes stops a run at once."""
    order = list(read_yaml(ROOT / "dvc.yaml")["stages"])
    assert order.index("prepare") < order.index("retrieve") < order.index("invert")
    assert order.index("invert") < order.index("generate")
