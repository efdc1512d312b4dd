import pytest
from dvc.repo import Repo

from house import ROOT
from synthbridge.core.settings import read_yaml
from synthbridge.studies.pipeline import (
    Keys,
    expand,
    needed_stages,
    raw_hashes,
    value_at,
    with_overrides,
)

PIPELINE = {
    "stages": {
        "draw": {
            "matrix": {"set": "${sets}", "block": ["b0", "b1"]},
            "cmd": "draw ${item.set}",
            "deps": ["data/raw/x", "src/a.py"],
            "params": ["synthetic.${item.set}"],
            "outs": ["data/${item.set}/${item.block}"],
        },
        "judge": {
            "matrix": {"set": "${sets}"},
            "cmd": "judge",
            "deps": ["data/${item.set}/b0", "src/a.py"],
            "params": ["seeds"],
            "outs": ["data/models/${item.set}"],
            "metrics": [{"metrics/x/runs/${item.set}.json": {"cache": False}}],
        },
    }
}
PARAMS = {"sets": ["t", "u"], "synthetic": {"t": {"g": 1}, "u": {"g": 2}}, "seeds": [0]}


def _keys(root, params):
    (root / "src").mkdir(exist_ok=True)
    (root / "src/a.py").write_text("a")
    stages = expand(PIPELINE, params)
    return Keys({"data/raw/x": "h"}, root).of(stages, needed_stages(stages, stages), params)


def test_overrides_replace_whole_values_and_leave_the_rest():
    params = {"a": {"b": {"c": 1}, "d": 2}}
    changed = with_overrides(params, {"a.b": {"e": 3}, "f.g": 4})
    assert changed == {"a": {"b": {"e": 3}, "d": 2}, "f": {"g": 4}}
    assert params == {"a": {"b": {"c": 1}, "d": 2}}
    assert value_at(changed, "a.b.e") == 3 and value_at(changed, "a.d.x") is None


def test_the_matrix_is_filled_in():
    stages = expand(PIPELINE, PARAMS)
    assert list(stages) == [
        "draw@t-b0",
        "draw@t-b1",
        "draw@u-b0",
        "draw@u-b1",
        "judge@t",
        "judge@u",
    ]
    assert stages["judge@u"].metrics == ("metrics/x/runs/u.json",)
    assert needed_stages(stages, ["judge@u"]) == ["draw@u-b0", "judge@u"]


def test_our_expansion_is_dvcs_own():
    """Every stage of dvc.yaml: the same names, deps and outs as DVC reads."""
    stages = expand(read_yaml(ROOT / "dvc.yaml"), read_yaml(ROOT / "params.yaml"))
    theirs = {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages}
    assert set(stages) == {name for name in theirs if not name.endswith(".dvc")}
    for name, stage in stages.items():
        known = theirs[name]
        deps = {dep.def_path for dep in known.deps if not hasattr(dep, "params")}
        assert set(stage.deps) == deps, name
        assert set(stage.outs) == {out.def_path for out in known.outs}, name
        params = {key for dep in known.deps for key in getattr(dep, "params", [])}
        assert set(stage.params) == params, name
        assert stage.cmd == known.cmd


def test_a_key_changes_with_what_decides_it_and_with_nothing_else(tmp_path):
    before = _keys(tmp_path, PARAMS)
    assert _keys(tmp_path, {**PARAMS, "report": 1}) == before
    after = _keys(tmp_path, with_overrides(PARAMS, {"synthetic.t.g": 9}))
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"draw@t-b0", "draw@t-b1", "judge@t"}
    seeds = _keys(tmp_path, {**PARAMS, "seeds": [1]})
    assert {name for name in before if seeds[name] != before[name]} == {"judge@t", "judge@u"}


def test_a_key_changes_with_the_code(tmp_path):
    before = _keys(tmp_path, PARAMS)
    (tmp_path / "src/a.py").write_text("b")
    stages = expand(PIPELINE, PARAMS)
    after = Keys({"data/raw/x": "h"}, tmp_path).of(stages, needed_stages(stages, stages), PARAMS)
    assert not set(before.values()) & set(after.values())


def test_what_no_stage_makes_is_refused():
    stages = expand(PIPELINE, PARAMS)
    with pytest.raises(ValueError, match="'judge@v' is no stage of dvc.yaml with these params"):
        needed_stages(stages, ["judge@v"])
    broken = {"stages": {"judge": PIPELINE["stages"]["judge"]}}
    with pytest.raises(ValueError, match="judge@t reads data/t/b0, which no stage makes"):
        needed_stages(expand(broken, PARAMS), ["judge@t"])


def test_raw_data_is_known_from_the_lock():
    lock = {"stages": {"a": {"deps": [{"path": "data/raw/d", "md5": "1.dir"}, {"path": "src/a"}]}}}
    assert raw_hashes(lock) == {"data/raw/d": "1.dir"}
