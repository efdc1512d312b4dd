import difflib

import pytest
from scratch import clone_working_tree

from house import ROOT
from synthbridge.commands.sets import main
from synthbridge.core.settings import read_yaml
from synthbridge.params import read_params
from synthbridge.pipeline import check_params, expand

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
        (("images_per_class: 60", "images_per_class: 20"), "set dsi_8: images_per_class is 20"),
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


def _edits(scratch, *arguments):
    """Run the command; return the lines that params.yaml lost and got, and its values."""
    before = _lines(scratch, "params.yaml")
    main(list(arguments))
    check_params()
    changes = list(difflib.ndiff(before, _lines(scratch, "params.yaml")))
    lost, got = ([line[2:] for line in changes if line.startswith(mark)] for mark in ("- ", "+ "))
    return lost, got, read_yaml(scratch / "params.yaml")


def test_one_command_adds_a_set_for_more_shots(scratch):
    pipeline = _lines(scratch, "dvc.yaml")
    lost, got, values = _edits(scratch, "add", "dsi_8")
    like = read_yaml(ROOT / "params.yaml")["synthetic"]["dsi_4"]
    assert values["synthetic"]["dsi_8"] == {**like, "shots": 8}
    assert values["shots"] == [1, 4, 8]
    assert values["sets"] == ["template", "dsi_1", "dsi_4", "dsi_8", "retrieved"]
    assert lost == [] and len(got) == 3 + 1 + len(like)
    assert [line for line in _lines(scratch, "dvc.yaml") if "dsi_8" not in line] == pipeline
    assert _lines(scratch, "dvc.yaml") != pipeline


def test_sets_for_several_shots_at_once(scratch):
    _, _, values = _edits(scratch, "add", "dsi", "--shots", "full", "2")
    assert values["shots"] == [1, 2, 4, "full"]
    assert values["generated_sets"] == ["template", "dsi_1", "dsi_4", "dsi_full", "dsi_2"]
    assert values["synthetic"]["dsi_full"]["shots"] == "full"


@pytest.mark.parametrize(
    ("name", "like", "kind"),
    [("mine", "template", "synthetic"), ("near", "retrieved", "retrieved")],
)
def test_a_set_like_another(scratch, name, like, kind):
    lost, _, values = _edits(scratch, "add", name, "--like", like)
    assert lost == [] and values[kind][name] == values[kind][like]
    assert name in values["sets"] and values["shots"] == [1, 4]


def test_a_removed_set_comes_back_as_it_was(scratch):
    before = [(scratch / name).read_bytes() for name in FILES]
    main(["remove", "dsi_4", "retrieved"])
    params = read_params()
    assert params.sets == ["template", "dsi_1"] and "dsi_4" in params.synthetic
    assert params.retrieved_sets == []
    main(["add", "dsi_4"])
    main(["add", "retrieved"])
    assert read_params() == read_params(ROOT / "params.yaml")
    assert (scratch / "dvc.yaml").read_bytes() == before[1]


def test_a_set_that_clip_is_tuned_on_leaves_that_list_too(scratch):
    text = (scratch / "params.yaml").read_text()
    (scratch / "params.yaml").write_text(
        text.replace("  sets: []  ", "  sets: [dsi_4, template]  ")
    )
    main([])
    assert "clip_set/dsi_4" in (scratch / "dvc.yaml").read_text()
    main(["remove", "dsi_4"])
    assert read_params().clip_tuning.sets == ["template"]
    assert "dsi_4" not in (scratch / "dvc.yaml").read_text()


@pytest.mark.parametrize(("stem", "tuned"), [("lora", "dataset"), ("lora_class", "class")])
def test_a_tuned_set_is_made_of_templates(scratch, capsys, stem, tuned):
    main(["add", stem, "--shots", "4", "full"])
    params = read_params(scratch / "params.yaml")
    for shots in (4, "full"):
        group = params.synthetic[f"{stem}_{shots}"].model_dump()
        template = params.synthetic["template"].model_dump()
        assert group == {**template, "shots": shots, "tuned": tuned}
    assert f"synthetic.{stem}_4 is a copy of template, its generator tuned by {stem}" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "mine"], "no group of a set 'mine', nor one that differs in its shots alone; say"),
        (["add", "template_8"], "'python src sets add template_8 --like OTHER'"),
        (["add", "mine", "--like", "ours"], "no set 'ours' to copy; choose from template, dsi_1"),
        (["add", "mine", "--like", "dsi_4"], "synthetic.mine sees 4 shots; let its name end in _4"),
        (["add", "dsi_4", "--like", "dsi_1"], "synthetic.dsi_4 is there already; leave out"),
        (["add", "dsi_70"], "params.yaml: shots.2 is 70; choose from"),
        (["remove", "dsi"], "there is no set 'dsi'; choose from template, dsi_1, dsi_4, retr"),
    ],
)
def test_what_is_not_clear_changes_nothing(scratch, arguments, sentence):
    before = [(scratch / name).read_bytes() for name in FILES]
    with pytest.raises(ValueError) as error:
        main(arguments)
    assert sentence in str(error.value)
    assert [(scratch / name).read_bytes() for name in FILES] == before


@pytest.mark.parametrize("generator", [True, False])
def test_none_leaves_what_real_images_need(scratch, generator):
    main(["none", *([] if generator else ["--no-generator"])])
    check_params()
    params = read_params()
    assert params.sets == params.generated_sets == params.retrieved_sets == []
    assert (params.upstream.generator is not None) == generator
    stages = expand(read_yaml(scratch / "dvc.yaml"), read_yaml(scratch / "params.yaml"))
    names = {name.partition("@")[0] for name in stages}
    assert {"select", "finetune_real", "tune_clip", "probe", "report"} <= names
    assert not names & {"plan", "generate", "retrieve", "examine", "bridge", "finetune_bridged"}
    outs = {out for stage in stages.values() for out in stage.outs}
    deps = {dep for stage in stages.values() for dep in stage.deps if dep.startswith("data/")}
    assert deps - outs == {"data/raw/digits"}


def test_the_pipeline_runs_on_real_images_alone(tmp_path):
    scratch = clone_working_tree(tmp_path / "clone")
    scratch.run("python", "src", "sets", "none", "--no-generator")
    assert {"finetune_real@digits", "report@digits"} <= scratch.ran()
    assert "vanilla_equal_steps" in (scratch.folder / "metrics/digits/results.csv").read_text()
    assert scratch.ran() == set()


def test_a_set_of_which_a_part_trains(scratch):
    main(["add", "hard_4", "--like", "dsi_4", "--select", "entropy", "--keep", "0.5"])
    main(
        [
            "add",
            "any",
            "--shots",
            "1",
            "4",
            "--like",
            "dsi_4",
            "--select",
            "random",
            "--keep",
            "0.5",
        ]
    )
    groups = read_yaml(scratch / "params.yaml")["synthetic"]
    of_all = {**groups["dsi_4"], "keep_fraction": 0.5}
    assert groups["hard_4"] == {**of_all, "select": "entropy", "scored_by": "plain"}
    assert groups["any_4"] == {**of_all, "select": "random"}
    assert groups["any_1"] == {**of_all, "select": "random", "shots": 1}
    assert {"hard_4", "any_1", "any_4"} <= set(read_params().generated_sets)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--keep", "0.5"], "--keep 0.5 keeps images by --select; name it"),
        (["--select", "entropy"], "keep_fraction is 1 and cap null"),
        (["--select", "hard", "--keep", "0.5"], "select is 'hard'; it should be 'clip', 'entropy'"),
    ],
)
def test_a_selection_that_says_too_little_is_refused(scratch, options, sentence):
    before = [(scratch / name).read_bytes() for name in FILES]
    with pytest.raises(ValueError, match=sentence):
        main(["add", "hard_4", "--like", "dsi_4", *options])
    assert [(scratch / name).read_bytes() for name in FILES] == before


def test_what_is_retrieved_is_not_selected_from(scratch):
    with pytest.raises(ValueError, match="'found' is not drawn"):
        main(["add", "found", "--like", "retrieved", "--select", "random", "--keep", "0.5"])
