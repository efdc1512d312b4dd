import pytest

from house import ROOT
from synthbridge.commands.sets import main, with_sets
from synthbridge.core.settings import read_yaml

DSI_8 = """\
  dsi_8:
    prompts: dsi
    shots: 8
    guidance_scale: 1.5
    images_per_class: 60
"""
FILES = ("params.yaml", "dvc.yaml")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder with the two files alone."""
    for name in FILES:
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _add_set(scratch, *, group=DSI_8):
    """Add dsi_8 where a person does: below synthetic, and to generated_sets."""
    text = (scratch / "params.yaml").read_text()
    before, listed, after = text.partition("generated_sets:\n")
    after = f"- dsi_8  # mine\n{after}"
    text = before + listed + after.replace("synthetic:\n", f"synthetic:\n{group}", 1)
    (scratch / "params.yaml").write_text(text)
    return text


def _lines(scratch, name):
    return (scratch / name).read_text().splitlines()


def test_an_added_set_reaches_both_files_and_nothing_else_changes(scratch):
    written = _add_set(scratch).splitlines()
    pipeline = _lines(scratch, "dvc.yaml")
    main([])
    params = read_yaml(scratch / "params.yaml")
    assert params["sets"] == [*params["generated_sets"], *params["retrieved_sets"]]
    assert "dsi_8" in params["sets"]

    first = written.index("sets:") + 1
    assert _lines(scratch, "params.yaml") == [*written[:first], "- dsi_8", *written[first:]]
    fitted = _lines(scratch, "dvc.yaml")
    assert [line for line in fitted if "dsi_8" not in line] == pipeline  # comments too
    stages = read_yaml(scratch / "dvc.yaml")["stages"]
    for stage in ("probe", "report", "deliver"):
        assert any("dsi_8" in dep for dep in stages[stage]["deps"])


def test_a_second_run_changes_nothing(scratch):
    _add_set(scratch)
    main([])
    once = [(scratch / name).read_bytes() for name in FILES]
    main([])
    assert [(scratch / name).read_bytes() for name in FILES] == once


@pytest.mark.parametrize("removed", ["dsi_1", "retrieved"])
def test_a_removed_set_leaves_both_files(scratch, removed):
    values = read_yaml(scratch / "params.yaml")
    kind = "generated_sets" if removed in values["generated_sets"] else "retrieved_sets"
    head, listed, rest = (scratch / "params.yaml").read_text().partition(f"\n{kind}:")
    left = f"{listed} []" if values[kind] == [removed] else listed
    (scratch / "params.yaml").write_text(head + left + rest.replace(f"- {removed}\n", "", 1))
    main([])
    assert removed not in read_yaml(scratch / "params.yaml")["sets"]
    stages = read_yaml(scratch / "dvc.yaml")["stages"]
    for stage in ("probe", "report", "deliver"):
        assert not any(f"/{removed}" in dep for dep in stages[stage]["deps"])


def test_real_images_alone(scratch):
    text = (scratch / "params.yaml").read_text()
    values = read_yaml(scratch / "params.yaml")
    for kind in ("generated_sets", "retrieved_sets"):
        items = "".join(f"- {name}\n" for name in values[kind])
        assert f"\n{kind}:\n{items}" in text
        text = text.replace(f"\n{kind}:\n{items}", f"\n{kind}: []\n")
    (scratch / "params.yaml").write_text(text)
    main([])
    items = "".join(f"- {name}\n" for name in values["sets"])
    expected = text.replace(f"\nsets:\n{items}", "\nsets: []\n")
    assert (scratch / "params.yaml").read_text() == expected
    assert read_yaml(scratch / "params.yaml")["sets"] == []
    stages = read_yaml(scratch / "dvc.yaml")["stages"]
    assert [dep for dep in stages["probe"]["deps"] if "stage_one" in dep] == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("momentum:", "momentun:"), "training.momentun is not a known key"),
        (("    shots: 8\n", "    shots: 9\n"), "synthetic.dsi_8 sees 9 shots"),
        (("\nretrieved_sets:\n- retrieved", "\nretrieved_sets:"), "retrieved_sets is None"),
        (("\nsets:\n", "\nset:\n"), "set is not a known key"),
        (("\nsets:\n", "\nsets: all\nall:\n"), "sets is 'all'; it should be a valid list"),
        (("retrieved_sets:", "retrieved_sets: ["), "params.yaml is not valid YAML"),
    ],
)
def test_wrong_params_leave_both_files_as_they_were(scratch, change, sentence):
    text = _add_set(scratch).replace(*change)
    (scratch / "params.yaml").write_text(text)
    before = [(scratch / name).read_bytes() for name in FILES]
    with pytest.raises(ValueError) as error:
        main([])
    assert sentence in str(error.value)
    assert [(scratch / name).read_bytes() for name in FILES] == before


@pytest.mark.parametrize(
    ("old", "names", "new"),
    [
        ("sets: [a, b]  # all\nx: 1\n", ["a", "c"], "sets: [a, c]  # all\nx: 1\n"),
        ("sets: []  # all\nx: 1\n", ["a"], "sets: [a]  # all\nx: 1\n"),
        ("sets:  # all\n- a\n\n# of x\nx: 1\n", [], "sets: []  # all\n\n# of x\nx: 1\n"),
        (
            "y:\nsets:\n  # first\n  - a\n  - b  # second\n\n# of x\nx: null\n",
            ["b", "c", "a"],
            "y:\nsets:\n  - b  # second\n  - c\n  # first\n  - a\n\n# of x\nx: null\n",
        ),
    ],
)
def test_only_the_list_changes(old, names, new):
    assert with_sets(old, names) == new
