"""What a user may write wrong in params.yaml or on the command line: one sentence, nothing run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.core.files import write_json
from synthbridge.core.settings import Sections, check_settings
from synthbridge.data.synthetic import read_named_set
from synthbridge.params import Params, check_primary, read_params
from synthbridge.pipeline import GENERATOR, check_generator, check_params, generator_faults

ABSENT = object()  # in place of a value: the key is left out
HARD = {
    **{"prompts": "template", "shots": None, "guidance_scale": 2.0, "images_per_class": 60},
    **{"keep_fraction": 0.5, "select": "entropy"},
}
DSI_65 = {"prompts": "dsi", "shots": 65, "guidance_scale": 1.5, "images_per_class": 60}


def _refused(tmp_path, key, value):
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    *parents, last = key.split(".")
    group = params
    for parent in parents:
        group = group[parent]
    if value is ABSENT:
        del group[last]
    else:
        group[last] = value
    path = tmp_path / "params.yaml"
    YAML().dump(params, path)
    with pytest.raises(ValueError) as error:
        read_params(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("trainnig", {"a": 1}, "trainnig is not a known key; choose from arms, clip_tuning, data"),
        ("training", ABSENT, "training is missing; add it"),
        ("upstream.generator", None, "upstream.generator is null, so that nothing can draw them"),
        ("invert.steps", 3, "invert.steps is not a known key; choose from"),
        (
            "upstream.generator.vae.num_step",
            3,
            "upstream.generator.vae.num_step is not a known key",
        ),
        ("upstream.generator", {"hub": "a/b", "revison": "c"}, "choose from distilled, hub, "),
        ("upstream.generator", {"hub": "sd15"}, "upstream.generator.hub is 'sd15'; give owner/na"),
        (
            "upstream.generator",
            {"hub": "a/b", "weights": {"hub": "a/b", "file": "x.bin", "distilled": None}},
            "upstream.generator.weights.file is 'x.bin'; name one .safetensors of the repository",
        ),
        (
            "upstream.generator",
            {"hub": "a/b", "weights": {"hub": "a/b", "file": "x.safetensors"}},
            "upstream.generator.weights.distilled is missing; add it",
        ),
        (
            "upstream.generator",
            {"hub": "a/b", "weights": {"hub": "a/b", "file": "x.safetensors", "distilled": "ad"}},
            "upstream.generator.weights.distilled is 'ad'; it should be 'lcm' or 'lightning'",
        ),
        ("upstream.backbone", {"hub": "resnet50"}, "give a timm name with its weights' tag"),
        ("upstream.backbone", {"file": "a"}, "upstream.backbone.model is missing; add it"),
        ("upstream.backbone", {"file": "a", "modl": "b"}, "choose from file, input_size, mean"),
        ("upstream.clip", {"hub": "a/b"}, "upstream: generator is the miniature's, which is train"),
        ("upstream.clip.seeds", 1, "upstream.clip.seeds is not a known key; choose from batch_s"),
        ("upstream.pool.seeds", 1, "upstream.pool.seeds is not a known key; choose from images_"),
        ("training.batch_size", "64", "training.batch_size is '64'; it should be a valid integer"),
        ("training.batch_size", 0, "training.batch_size is 0; it should be greater than"),
        ("training.weight_decay", "none", "training.weight_decay is 'none'"),
        (
            "training.resize_size",
            8,
            "params.yaml: training: resize_size 8 must be at least image_size 24",
        ),
        (
            "generate.sampler",
            "ddim",
            "generate.sampler is 'ddim'; it should be 'ddpm', 'dpm++', 'eu",
        ),
        ("generate.jpeg_quality", 101, "generate.jpeg_quality is 101"),
        ("datasets", ["mine"], "datasets holds 'mine', which is no group below data"),
        ("datasets", ["my data"], "datasets.0 is 'my data'"),
        ("data.digits.source", "digit", "data.digits.source is 'digit'; it should be 'csv'"),
        ("data.digits.test_per_class", 0, "data.digits.test_per_class is 0; it should be greater"),
        ("data.digits.max_side", 0.5, "data.digits.max_side is 0.5; it should be a valid integer"),
        (
            "sets",
            ["template", "dis_4"],
            "sets is ['template', 'dis_4'], but generated_sets and retr",
        ),
        (
            "generated_sets",
            ["dis_4"],
            "generated_sets holds 'dis_4', which is no group below synth",
        ),
        (
            "retrieved_sets",
            ["pool"],
            "retrieved_sets holds 'pool', which is no group below retriev",
        ),
        (
            "retrieved_sets",
            [],
            "together are ['template', 'dsi_1', 'dsi_4']; name each set in one of the two and run",
        ),
        ("retrieved.retrieved.serch", "clip", "serch is not a known key; remove it or"),
        (
            "retrieved.retrieved.search",
            "text",
            "search is 'text'; it should be 'caption' or 'clip'",
        ),
        ("retrieved.retrieved.candidates", ABSENT, "candidates is missing; add it"),
        (
            "retrieved.retrieved.keep_fraction",
            30,
            "keep_fraction is 30; it should be less than or equal",
        ),
        ("examine.threshold", 1.0, "examine.threshold is 1.0; it should be less than 1"),
        ("retrieved.retrieved.queries", {"one": []}, "retrieved.retrieved.queries.one is []; "),
        (
            "synthetic.retrieved",
            DSI_65,
            "'retrieved' is a group of synthetic and of retrieved; ren",
        ),
        ("data.digits.imbalance", 0.5, "data.digits.imbalance is 0.5; it should be greater than"),
        ("data.digits.extra_test", "../there", "is '../there'; name one folder below the data"),
        ("clip_tuning.sets", ["dsi_8"], "clip_tuning.sets holds 'dsi_8', which sets does not"),
        ("clip_tuning.weight_decay", -1.0, "clip_tuning.weight_decay is -1.0; it should be"),
        ("arms.real.clip_mine", [{"train_on": "real"}], "begins with clip_, as the arms of CLIP"),
        ("sets", ["template", "template"], "name each one once"),
        ("shots", [65], "shots.0 is 65; choose from 1 to 64, or full"),
        ("shots", [1.0], "shots.0 is 1.0; choose from 1 to 64, or full"),
        ("shots", [4, True], "shots.1 is True; choose from 1 to 64, or full"),
        ("shots", [0], "shots.0 is 0; choose from"),
        ("shots", ["all"], "shots.0 is 'all'; choose from"),
        ("synthetic.dsi_4.shots", 65, "synthetic.dsi_4.shots is 65; choose from 1 to 64, or full"),
        ("seeds", [11], "seeds holds 11; choose from 0 to 9"),
        ("synthetic.dsi_4.shots", 8, "synthetic.dsi_4 sees 8 shots; let its name end in _8"),
        (
            "synthetic.template",
            {**HARD, "scored_by": "other"},
            "synthetic.template.scored_by is 'other', which is no group below stage_one; choose",
        ),
        ("synthetic.template.prompts", "templates", "synthetic.template.prompts is 'templates'"),
        (
            "synthetic.dsi_4",
            {**DSI_65, "prompts": "template", "shots": 4, "image_strength": 0.05},
            "synthetic.dsi_4: image_strength 0.05 of 10 denoising steps leaves none; raise it",
        ),
        ("synthetic.dsi_4.guidance_scale", "high", "synthetic.dsi_4.guidance_scale is 'high'"),
        ("arms.real.vanilla", [], "arms.real.vanilla is []"),
        (
            "arms.real.vanilla",
            [{"train_on": "reel"}],
            "it should be 'real', 'synthetic' or 'mixed'",
        ),
        ("arms.real.vanilla", [{"fresh_head": True}], "names either stage_one or train_on"),
        ("arms.real.vanilla", [{"train_on": "mixed"}], "move the arm to arms.mixed"),
        ("arms.bridged.bridged", [{"train_on": "real"}], "first leg of a bridged arm names its"),
        ("arms.bridged.bridged", [{"stage_one": "plane"}], "names stage one 'plane'; choose from"),
        (
            "arms.bridged.bridged",
            [{"stage_one": "plain"}, {"train_on": "synthetic"}],
            "leg 2, trains on synthetic images; move the arm to arms.mixed",
        ),
        (
            "arms.bridged.bridged",
            [{"stage_one": "plain", "frozen_units": 2}],
            "takes that model as it is, but has frozen_units; move it to a leg that trains",
        ),
        (
            "arms.bridged.bridged",
            [
                {"stage_one": "plain"},
                {"train_on": "real", "transferred_units": 2, "frozen_units": 2},
            ],
            "the head too, but the leg has frozen_units as well; take one of the two",
        ),
        (
            "arms.real.vanilla",
            [{"train_on": "real", "transferred_units": 0, "fresh_head": True}],
            "the head too, but the leg has fresh_head as well; take one of the two",
        ),
        (
            "arms.real.vanilla",
            [{"train_on": "real", "synthetic_weight": 0.5}],
            "synthetic_weight says how real and synthetic images share a batch; it goes with",
        ),
        (
            "arms.mixed.mixed",
            [{"train_on": "mixed", "auxiliary_norm": True, "mixup": 0.2}],
            "auxiliary_norm treats real and synthetic images apart, and mixup 0.2 blends one",
        ),
        (
            "arms.mixed.mixed",
            [{"train_on": "mixed", "synthetic_fraction": 1.0}],
            "arms.mixed.mixed.0.synthetic_fraction is 1.0; it should be less than 1",
        ),
        (
            "arms.mixed.mixed",
            [{"train_on": "mixed", "synthetic_weight": 0.0}],
            "arms.mixed.mixed.0.synthetic_weight is 0.0; it should be greater than 0",
        ),
        ("training.normalisation", "own", "it should be 'backbone', 'real' or 'synthetic'"),
        ("training.start", "zero", "it should be 'backbone' or 'random'"),
        ("training.frozen_norm", "frozen", "it should be 'eval' or 'train'"),
        ("deliver.ensemble", "yes", "deliver.ensemble is 'yes'; it should be a valid boolean"),
        ("probe.cues", "yes", "probe.cues is 'yes'; it should be a valid boolean"),
        ("arms.reel", {}, "arms.reel is not a known key; choose from bridged, mixed, real"),
        ("report.primary_arm", "bridged", "report.primary_arm is now called primary; rename it"),
        ("report.primary", "bridged", "report.primary is 'bridged'; it should be"),
        ("real_leg.learning_rates", [0.0], "must all be above 0"),
        (
            "real_leg.select_on",
            "nothing",
            "the one rate of every leg, but it is [0.1, 0.03, ",
        ),
        ("invert.placeholder", "style token", "invert.placeholder is 'style token'"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path, key, value, sentence):
    assert sentence in _refused(tmp_path, key, value)


def test_all_faults_are_one_message():
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values.update(datasets=["sings"], seeds=[0, 11])
    values["synthetic"]["dsi_4"]["shots"] = 8
    values["arms"]["bridged"]["bridged"] = [{"train_on": "real"}]
    values["arms"]["real"]["clip_mine"] = [{"train_on": "real"}]
    with pytest.raises(ValueError) as error:
        check_settings(Params, values, "")
    first, *lines = str(error.value).split("\n")
    assert first == "params.yaml: 5 settings do not fit:" and len(lines) == 5
    assert all(line.startswith("  ") for line in lines)


@pytest.mark.parametrize(
    ("group", "name"), [("synthetic", "real"), ("synthetic", "real_4"), ("retrieved", "real")]
)
def test_a_set_called_real_is_refused_where_it_is_used(group, name):
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    like = {"real": "template", "real_4": "dsi_4"}[name] if group == "synthetic" else "retrieved"
    values[group][name] = dict(values[group][like])
    check_settings(Params, values, "")  # nothing uses it
    values["sets"].append(name)
    values[{"synthetic": "generated_sets", "retrieved": "retrieved_sets"}[group]].append(name)
    with pytest.raises(ValueError, match=f"{group}.{name} has the name of runs on real images"):
        check_settings(Params, values, "")


@pytest.mark.parametrize(
    ("shots", "sets", "lacking"),
    [
        ([1, 4], ["template", "dsi_1", "dsi_4"], []),
        ([1, 8, "full"], ["template", "dsi_1", "dsi_4"], ["dsi_8", "dsi_full"]),
        ([1, 8], ["template"], []),
        ([1, 8], [], []),
    ],
)
def test_a_number_of_shots_without_a_set_of_it_is_said(shots, sets, lacking):
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values.update(shots=shots, sets=sets, generated_sets=sets, retrieved_sets=[])
    notes = check_settings(Params, values, "").notes()
    assert len(notes) == len(lacking)
    for note, name in zip(notes, lacking, strict=True):
        assert f"there is no set {name}; 'python src sets add {name}' adds it" in note


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        (240, "images_per_class is 240, but 3 blocks of 60 hold 180; raise"),
        (20, "images_per_class is 20, which is no multiple of generate.images_per_block (60); ro"),
    ],
)
def test_blocks_hold_every_set_or_nothing_starts(tmp_path, monkeypatch, volume, sentence):
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("_class: 60", f"_class: {volume}"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        check_params()
    for name in ("template", "dsi_1", "dsi_4", "retrieved"):
        assert f"\n  params.yaml: set {name}: {sentence}" in str(error.value)


def test_sets_need_a_clip_and_retrieval_a_pool():
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    hub = {"hub": "a/b", "revision": "c" * 40}
    values["upstream"].update(generator=hub, clip=None, pool=None)
    with pytest.raises(ValueError, match="upstream.clip is null, but sets holds"):
        check_settings(Params, values, "")
    values["upstream"]["clip"] = hub
    with pytest.raises(
        ValueError, match=r"retrieved\.retrieved\.pool is null, the upstream's, but"
    ):
        check_settings(Params, values, "")
    values["retrieved"]["retrieved"]["pool"] = "data/raw/pool"
    check_settings(Params, values, "")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arm": "bridgd"}, "arm is 'bridgd', which no run has; choose from vanilla, "),
        ({"method": "dsi_4"}, "method is 'dsi_4', which no run of bridged has; choose from "),
        ({"arm": "vanilla_fc_reinit"}, "which no run of vanilla_fc_reinit has; choose from real"),
        ({"shots": 16}, "shots is 16, which no run of bridged, dsi has; choose from 1, 4, or"),
        ({"shots": "four"}, "shots is 'four', which no run of bridged, dsi has"),
        ({"reference": "mixed"}, "reference is 'mixed'; choose an arm on real images alone: vani"),
        ({"reference": "vanilla_equal_steps"}, "vanilla, vanilla_fc_reinit (vanilla_equal_steps"),
    ],
)
def test_the_primary_comparison_is_one_that_runs(changes, sentence):
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    check_primary(check_settings(Params, values, ""))
    values["report"]["primary"].update(changes)
    with pytest.raises(ValueError, match="report.primary") as fault:
        check_primary(check_settings(Params, values, ""))
    assert sentence in str(fault.value)


def test_there_may_be_no_primary_comparison():
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["report"]["primary"] = None
    check_primary(check_settings(Params, values, ""))


def test_a_set_of_some_shots_serves_them_alone(tmp_path, monkeypatch):
    """dsi_1 is no set of 4 shots; a study's experiment, which makes no report, may lack the run."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text().replace("dsi_4", "dsi_1"))
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("- dsi_4\n", ""))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="shots is 4, which no run of bridged, dsi has; .* 1"):
        check_params()
    monkeypatch.setenv("SYNTHBRIDGE_STUDY", "1")
    check_params()


def test_clip_search_ends_somewhere():
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["retrieved"]["retrieved"].update(search="clip", candidates=None)
    with pytest.raises(ValueError, match="candidates is null, but every image of a pool resembles"):
        check_settings(Params, values, "")
    values["retrieved"]["retrieved"]["search"] = "caption"
    check_settings(Params, values, "")


def _python_src(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "src", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_an_ensemble_needs_one_input_for_all_its_models():
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["deliver"]["ensemble"] = True
    check_settings(Params, params, "")
    params["training"]["normalisation"] = "real"
    with pytest.raises(ValueError, match=r"deliver.ensemble is true, .* is 'real', which each"):
        check_settings(Params, params, "")


def test_a_stage_refuses_before_any_work(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    text = (ROOT / "params.yaml").read_text().replace("momentum: 0.9", "momentun: 0.9")
    (tmp_path / "params.yaml").write_text(text)
    result = _python_src("prepare", "--dataset", "digits", "--out", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert "params.yaml: training.momentun is not a known key" in result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "out").exists()


def test_a_set_that_the_pipeline_does_not_read_is_refused(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("- dsi_4\n", "- dsi_4\n- dsi_8\n")
    new = "  dsi_8:\n    prompts: dsi\n    shots: 8\n    guidance_scale: 3.5\n"
    text = text.replace("synthetic:\n", f"synthetic:\n{new}    images_per_class: 60\n")
    (tmp_path / "params.yaml").write_text(text)
    result = _python_src("prepare", "--dataset", "digits", "--out", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert "params.yaml has the set dsi_8; run 'python src sets'" in result.stderr


def test_a_set_that_is_left_out_but_read_is_refused(tmp_path, monkeypatch):
    """`-S 'sets=[template]'` would otherwise fail at the end, in probe."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("- dsi_4\n", ""))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="stage probe in dvc.yaml still reads .*/dsi_4"):
        check_params()


def test_an_unknown_stage_is_refused():
    result = _python_src("genrate")
    assert result.returncode == 1
    assert "'genrate' is no stage (check, upstream, prepare, " in result.stderr
    assert "and no command (estimate, export, " in result.stderr


def test_processes_must_be_a_number(monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_PROCESSES", "two")
    result = _python_src("bridge")
    assert "SYNTHBRIDGE_PROCESSES is 'two'; give a whole number above 0" in result.stderr


def test_method_is_the_set_without_its_shots():
    sections = Sections(ROOT / "params.yaml")
    methods = {name: read_named_set(sections, name).method for name in sections.values["sets"]}
    assert methods == {
        "template": "template",
        "dsi_1": "dsi",
        "dsi_4": "dsi",
        "retrieved": "retrieved",
    }
    assert read_named_set(sections, None).method == "real"


RENAMED = [
    ("upstream.pool", "style_share", "style_fraction"),
    ("generate", "guided_share", "guided_fraction"),
    ("retrieved.retrieved", "keep_share", "keep_fraction"),
    ("synthetic.template", "keep_share", "keep_fraction"),
]


@pytest.mark.parametrize(("group", "old", "new"), RENAMED)
def test_an_old_key_is_refused_with_its_new_name(tmp_path, group, old, new):
    refused = _refused(tmp_path, f"{group}.{old}", 0.5)
    assert f"params.yaml: {group}.{old} is now called {new}; rename it" in refused


def test_an_old_key_of_a_leg_is_refused_with_its_new_name(tmp_path):
    leg = {"train_on": "mixed", "synthetic_share": 0.5}
    refused = _refused(tmp_path, "arms.mixed.mixed", [leg])
    where = "arms.mixed.mixed.0.synthetic_share"
    assert f"params.yaml: {where} is now called synthetic_fraction; rename it" in refused


def test_few_step_weights_refuse_what_params_ask_of_them(tmp_path):
    """Steps, a sampler, guidance and learned words, all at once, before anything is fetched."""
    weights = {"hub": "a/b", "file": "x_4step_unet.safetensors", "distilled": "lightning"}
    said = _refused(tmp_path, "upstream.generator", {"hub": "a/b", "weights": weights})
    for sentence in (
        "generate.sampler is dpm++, but the generator is a Lightning model, which takes euler",
        "generate.num_steps is 10, but the generator is a Lightning model, distilled to 4 steps",
        "synthetic.template.guidance_scale is 1.5, but the generator is a Lightning model, which",
        "synthetic.dsi_4 learns words (dsi), but the generator is a Lightning model: it no longer",
    ):
        assert sentence in said
    weights["file"] = "sdxl_lightning_1step_unet_x0.safetensors"
    said = _refused(tmp_path, "upstream.generator", {"hub": "a/b", "weights": weights})
    assert "weights.file: sdxl_lightning_1step_unet_x0.safetensors predicts the image" in said


def test_a_few_step_folder_refuses_what_params_ask_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    assert generator_faults() == []  # no folder yet
    (GENERATOR / "scheduler").mkdir(parents=True)
    config = '{"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}'
    (GENERATOR / "scheduler" / "scheduler_config.json").write_text(config)
    with pytest.raises(ValueError, match="is a Turbo model, distilled to 1 to 8 steps; choose 4"):
        check_generator()


def test_a_transformer_refuses_other_samplers_and_words(tmp_path, monkeypatch):
    """Before a LoRA is tuned for hours, whose samples could not be drawn."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    for part in ("scheduler", "transformer"):
        (GENERATOR / part).mkdir(parents=True)
    config = '{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}'
    (GENERATOR / "scheduler" / "scheduler_config.json").write_text(config)
    faults = "\n".join(generator_faults())
    assert "generate.sampler is dpm++, but the generator is a flow-matching transformer" in faults
    assert "synthetic.dsi_4 learns words (dsi), but the generator is a flow-matching" in faults
    (GENERATOR / "transformer").rmdir()
    assert generator_faults() == []


def test_the_miniature_refuses_samplers_of_other_generators(tmp_path):
    said = _refused(tmp_path, "generate.sampler", "lcm")
    assert "sampler is lcm, which only LCM models take, and the generator is none" in said
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    generator = {**params["upstream"]["generator"], "prediction": "flow"}
    check = {**params, "upstream": {**params["upstream"], "generator": generator}}
    check["generate"] = {**params["generate"], "sampler": "ddpm"}
    with pytest.raises(ValueError, match="prediction is flow, which takes dpm.. or euler; choose"):
        check_settings(Params, check, "")


def _generator_of(scheduler, part, config):
    """Leave the configurations of a generator where `upstream` does."""
    for folder, values in (("scheduler", scheduler), (part, config)):
        (GENERATOR / folder).mkdir(parents=True)
        name = "scheduler_config.json" if folder == "scheduler" else "config.json"
        write_json(GENERATOR / folder / name, values)


LCM = ({"_class_name": "LCMScheduler"}, "unet", {"time_cond_proj_dim": 256})
LCM_LORA = ({"_class_name": "LCMScheduler"}, "unet", {})
DEV = (
    {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    "transformer",
    {"guidance_embeds": True},
)
FRACTION, SCALE = "generate.guided_fraction is 0.5, but", "synthetic.template.guidance_scale is"


@pytest.mark.parametrize(
    ("generator", "fraction", "scale", "said"),
    [
        (LCM, 0.5, 8.0, [FRACTION]),
        (LCM, 1.0, 8.0, []),
        (LCM, 1.0, 2.5, [SCALE]),
        (LCM, 0.5, 2.5, [FRACTION, SCALE]),
        (LCM, 0.5, 1.0, []),  # 1 from the first step on
        (LCM_LORA, 0.5, 1.5, []),
        (DEV, 0.5, 3.5, [FRACTION]),
        (DEV, 1.0, 2.5, []),
    ],
)
def test_a_generator_that_is_told_the_scale_is_told_what_it_learned(
    tmp_path, monkeypatch, generator, fraction, scale, said
):
    monkeypatch.chdir(tmp_path)
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["sets"], values["generated_sets"] = ["template", "retrieved"], ["template"]
    values["generate"] |= {"guided_fraction": fraction, "num_steps": 4, "sampler": "euler"}
    values["synthetic"]["template"]["guidance_scale"] = scale
    YAML().dump(values, tmp_path / "params.yaml")
    _generator_of(*generator)
    if generator[1] == "transformer":
        write_json(GENERATOR / "model_index.json", {"_class_name": "FluxPipeline"})
    faults = [fault for fault in generator_faults() if "guid" in fault]
    assert len(faults) == len(said)
    assert all(sentence in fault for sentence, fault in zip(said, faults, strict=True))


@pytest.mark.parametrize(("most", "is_refused"), [(3, False), (4, True)])
def test_shots_above_the_smallest_class_stop_the_first_stage_that_reads_it(
    tmp_path, monkeypatch, most, is_refused
):
    """Not `select`, after hours of drawing; and only the data set that the stage reads."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["shots"] = [1, most, "full"]
    values["report"]["primary"] = None
    YAML().dump(values, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    real = Path("data/real/birds")
    real.mkdir(parents=True)
    write_json(real / "few_shot.json", [[["a", "b", "c", "d"], ["e", "f", "g"]]] * 10)
    write_json(real / "dataset.json", {"class_names": ["crow", "rook"]})
    check_params()
    check_params(Path("data/real/other"))
    if not is_refused:
        check_params(real)
        return
    sentence = "shots holds 4, but class 'rook' of data/real/birds has 3 training images; take 4"
    with pytest.raises(ValueError, match=sentence):
        check_params(real)
    shutil.copytree(ROOT / "src", "src", ignore=shutil.ignore_patterns("__pycache__"))
    result = _python_src("invert", "--set", "dsi_1", "--real", str(real), cwd=tmp_path)
    assert result.returncode == 1 and sentence in result.stderr
