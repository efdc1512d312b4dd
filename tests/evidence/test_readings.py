import json

import numpy as np
import pytest
from evidence.simulated import simulate_probe, simulate_style

from synthbridge.core.files import write_json
from synthbridge.evidence.readings import (
    read_licences,
    read_probes,
    read_retrieved,
    read_style_losses,
)


def test_reads_probes(tmp_path):
    written = simulate_probe(tmp_path / "digits.json")
    table = read_probes([tmp_path / "digits.json"], "digits")
    names = ["set", "model", "measure"]
    read = table[names].fillna("none").to_numpy().tolist()
    assert read == [[row[name] or "none" for name in names] for row in written]
    fixed = table[table["measure"] == "fixed_feature_accuracy"]["value"]
    assert set(fixed) == {80.0, 85.0}
    assert set(table[table["measure"] == "fixed_feature_own_head_accuracy"]["value"]) == {84.0}
    assert set(table[table["set"].isna()]["model"]) == {"upstream"}


def test_no_probes_is_an_empty_table():
    assert read_probes([], "digits").empty


def test_refuses_a_probe_of_nan(tmp_path):
    simulate_probe(tmp_path / "digits.json")
    rows = json.loads((tmp_path / "digits.json").read_text())
    rows[0]["value"] = float("nan")
    (tmp_path / "digits.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="leep of 'upstream' is nan"):
        read_probes([tmp_path], "digits")


def test_refuses_the_probe_of_another_data_set(tmp_path):
    simulate_probe(tmp_path / "pets.json", dataset="pets")
    with pytest.raises(ValueError, match="pets.json probes pets, but this report is of digits"):
        read_probes([tmp_path], "digits")


def test_refuses_what_is_no_probe(tmp_path):
    (tmp_path / "digits.json").write_text('[{"dataset": "digits"}]')
    with pytest.raises(ValueError, match="not a list of probe rows"):
        read_probes([tmp_path], "digits")


def test_reads_style_losses(tmp_path):
    simulate_style(tmp_path / "dsi_4")
    simulate_style(tmp_path / "dsi_full", ["all"])
    folders = {name: tmp_path / name for name in ("dsi_full", "dsi_4")}
    table = read_style_losses(folders, "digits")
    assert set(table["dataset"]) == {"digits"}
    curves = table.groupby(["set", "subset"], sort=False)
    tokens = [("dsi_4", "s0"), ("dsi_4", "s1"), ("dsi_4", "s2"), ("dsi_full", "all")]
    assert list(curves.groups) == tokens
    for _, curve in curves:
        assert curve["step"].tolist() == list(range(301))
        at_fixed_noise = curve[curve["fixed_noise_loss"].notna()]
        assert at_fixed_noise["step"].tolist() == list(range(0, 301, 50))
    assert np.isnan(table["loss"][0])


def test_style_losses_may_have_no_readings_at_fixed_noise_and_may_be_missing(tmp_path):
    (tmp_path / "all.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    assert read_style_losses({"dsi": tmp_path}, "digits")["loss"].tolist() == [0.5, 0.4]
    assert read_style_losses({}, "digits").empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,\n", "a loss is NaN"),
        ("epoch,loss\n1,2\n", "needs numbers of step and loss"),
        ("step,loss\n1,high\n", "needs numbers"),
        ("", "needs numbers"),
    ],
)
def test_refuses_a_broken_curve(tmp_path, text, message):
    (tmp_path / "all.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_style_losses({"dsi": tmp_path}, "digits")


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        ({"one": 60, "two": 60}, ""),
        ({"one": 0, "two": 60}, "No image was found for one."),
        ({"one": 0, "two": 7}, "No image was found for one; fewer than 60 for two 7."),
        ({"one": 9, "two": 7}, "Fewer than 60 for one 9, two 7."),
    ],
)
def test_what_a_retrieved_set_lacks(tmp_path, taken, words):
    for name, index in (
        ("dsi_1/b0", {"num_images": 1}),
        ("pool/b0", {"num_images": 1, "retrieved": {"wanted": 60, "taken": taken}}),
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "index.json").write_text(json.dumps(index))
    blocks = {"dsi_1": tmp_path / "dsi_1/b0", "bare": tmp_path, "pool": tmp_path / "pool/b0"}
    assert read_retrieved(blocks) == {"pool": words}


def test_the_licences_of_what_drew_the_sets_are_told_once(tmp_path):
    licence = {"hub": "a/b", "revision": "c", "license": "cc-by-nc-4.0"}
    licence |= {"license_name": None, "license_link": None}
    for name in ("one", "two", "found"):
        (tmp_path / name).mkdir()
        known = {} if name == "found" else {"licences": [licence]}
        write_json(tmp_path / name / "index.json", {"num_images": 1, **known})
    blocks = {name: tmp_path / name for name in ("one", "two", "found", "absent")}
    assert read_licences(blocks) == ["licence of a/b: cc-by-nc-4.0; it forbids commercial use"]
