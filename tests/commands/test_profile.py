"""Profiles: the paper's settings hold the paper's facts, and DVC takes them."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.commands.profile import LARGEST_VOLUME, compose, profile
from synthbridge.core.settings import check_settings
from synthbridge.data.synthetic import check_volume
from synthbridge.params import Params, read_params
from synthbridge.pipeline import check_params, expand, fit
from synthbridge.stages import report

PAPER = (ROOT / "profiles" / "paper.yaml").read_text(encoding="utf-8")
PIPELINE = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
DEFAULT = read_params(ROOT / "params.yaml")

# Bridged: metric of its appendix, learning rate of its table 5 (ResNet-18), chosen on test.
DATASETS = {
    "aircraft": ("mean_per_class", 0.1),
    "caltech101": ("mean_per_class", 0.003),
    "cars": ("top1", 0.01),
    "cub": ("top1", 0.01),
    "dogs": ("top1", 0.01),
    "dtd": ("top1", 0.003),
    "flowers": ("mean_per_class", 0.01),
    "food": ("top1", 0.01),
    "pets": ("mean_per_class", 0.003),
    "sun397": ("top1", 0.003),
}
TRAIN_PER_CLASS = {
    "caltech101": 30,
    "dogs": 100,
    "dtd": 80,
    "flowers": 20,
    "food": 750,
    "sun397": 50,
}
STATED = {  # by the paper, whatever the data set
    "invert.num_steps": 20_000,
    "generate.sampler": "ddpm",
    "training.batch_size": 64,
    "training.weight_decay": 5e-4,
    "training.image_size": 224,
    "real_leg.learning_rates": [0.1, 0.03, 0.01, 0.003, 0.001],
    "real_leg.num_epochs": 150,
    "real_leg.num_epochs_few_shot": 100,
    "stage_one.plain.num_epochs": 150,
    "stage_one.plain.images_per_class": 1000,
    "stage_one.mixup.num_epochs": 150,
    "stage_one.mixup.images_per_class": 1000,
    "seeds": [0, 1, 2],
    "shots": ["full"],
    "synthetic.template.guidance_scale": 3.5,
    "synthetic.template.images_per_class": 1000,
    "synthetic.dsi_full.guidance_scale": 3.5,
    "synthetic.dsi_full.images_per_class": 1000,
}


def _params(text):
    return check_settings(Params, YAML(typ="safe").load(text), "")


def _composed(*datasets, shots=(), table5=False):
    return _params(compose(PAPER, datasets, shots, table5))


def _value(params, key):
    for name in key.split("."):
        params = params[name] if isinstance(params, dict) else getattr(params, name)
    return params


def _leaves(values, path=""):
    if isinstance(values, dict) and values:
        return {
            k: v
            for name, value in values.items()
            for k, v in _leaves(value, f"{path}.{name}" if path else name).items()
        }
    return {path: values}


@pytest.mark.parametrize("key", STATED)
def test_what_the_paper_says(key):
    assert _value(_composed("aircraft"), key) == STATED[key]


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_has_its_recipe(name):
    metric, rate = DATASETS[name]
    params = _composed(name)
    assert params.datasets == [name] and params.data[name].source == name
    assert params.report.measure == metric
    assert params.real_leg.select_on == "validation" and rate in params.real_leg.learning_rates
    settings = params.data[name]
    assert settings.flip and settings.test_per_class is settings.max_side is None
    if name in TRAIN_PER_CLASS:
        assert settings.validation_per_class == round(TRAIN_PER_CLASS[name] / 10)


@pytest.mark.parametrize("name", DATASETS)
def test_the_papers_own_rate_comes_with_the_switch_that_marks_it(name):
    params = _composed(name, table5=True)
    assert params.real_leg.learning_rates == [DATASETS[name][1]]
    assert params.real_leg.select_on == "test"
    rates = {stage: settings.learning_rate for stage, settings in params.stage_one.items()}
    assert rates == dict.fromkeys(("plain", "mixup"), DATASETS[name][1])


def test_a_shorter_stage_one_is_asked_for():
    params = _params(compose(PAPER, ["aircraft"], [], False, 10))
    lengths = {name: settings.steps(100, 64) for name, settings in params.stage_one.items()}
    assert lengths == {"plain": 15_625, "mixup": 15_625}
    assert {settings.steps(100, 64) for settings in _composed().stage_one.values()} == {234_375}


def test_a_profile_is_a_whole_params_yaml():
    """It leaves no key to a default that the default itself says."""
    # Groups with names of their own, and lengths in one of two units.
    free = ("data.", "retrieved.", "stage_one.", "synthetic.", "upstream.")
    said, own = (
        {key for key in _leaves(params.model_dump(exclude_unset=True)) if not key.startswith(free)}
        for params in (DEFAULT, _composed())
    )
    assert said == own


@pytest.mark.parametrize("shots", [["1", "2", "4", "8", "16"], ["4", "full"], ["1"]])
def test_each_number_of_shots_has_a_style_of_its_own(shots):
    params = _composed("cars", shots=shots)
    assert [str(value) for value in params.shots] == shots
    assert params.sets == ["template", *(f"dsi_{count}" for count in shots)]
    assert list(params.synthetic) == params.generated_sets == params.sets
    for name, settings in params.synthetic.items():
        if name != "template":
            full = _composed("cars").synthetic["dsi_full"]
            assert settings == full.model_copy(update={"shots": settings.shots})
            assert name == f"dsi_{settings.shots}"
    lists = {"shots", "sets", "generated_sets", "synthetic"}
    own, as_it_is = (_leaves(one.model_dump(exclude=lists)) for one in (params, _composed("cars")))
    assert str(own.pop("report.primary.shots")) == shots[-1]
    assert as_it_is.pop("report.primary.shots") == "full"
    assert own == as_it_is


@pytest.mark.parametrize("text", [PAPER, (ROOT / "params.yaml").read_text(encoding="utf-8")])
def test_nothing_asked_changes_no_byte(text):
    assert compose(text, [], [], False) == text


def test_there_and_back_gives_the_file():
    """Every comment stays with its key, whatever stood there in between."""
    alone = compose(PAPER, ["aircraft"], ["full"], False)
    there = compose(PAPER, ["aircraft", "pets"], ["full"], False)
    assert there not in (PAPER, alone)
    assert compose(there, ["aircraft"], ["full"], False) == alone


def test_nothing_of_another_data_set_is_left_behind():
    assert list(_composed("cars", "food").data) == ["cars", "food"]


def test_every_set_of_shots_is_a_group_that_says_why():
    text = compose(PAPER, ["cars"], ["1", "4"], True)
    groups = [
        re.search(rf"(?m)^  dsi_{count}:\n((?:    .*\n)+)(?=( *)\S|\n)", text)[1].splitlines()
        for count in (1, 4)
    ]
    original = re.search(r"(?m)^  dsi_full:\n((?:    .*\n)+)", PAPER)[1].splitlines()
    for count, group in zip((1, 4), groups, strict=True):
        assert group == [line.replace("shots: full", f"shots: {count}") for line in original]
    after = PAPER[PAPER.index("retrieved:  ") : PAPER.index("\nreal_leg:")]
    assert after in text  # sections that the command has nothing to do with


@pytest.mark.parametrize(
    ("datasets", "shots", "table5", "sentence"),
    [
        (["mine"], [], False, "'mine' is none of aircraft, caltech101"),
        (["cars", "pets"], [], False, "paper has top1 for cars, mean_per_class for pets; make a r"),
        (["cars", "dtd"], [], True, "the paper has 0.01 for cars, 0.003 for dtd; make a run for"),
        ([], [], True, "--table5 is of the ten data sets; name one"),
    ],
)
def test_what_one_setting_cannot_say_is_refused(datasets, shots, table5, sentence):
    with pytest.raises(ValueError, match=sentence):
        compose(PAPER, datasets, shots, table5)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """What the command reads and DVC needs, as a git and DVC repository."""
    for name in ("params.yaml", "dvc.yaml", "profiles/paper.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    who = ("-c", "user.name=a", "-c", "user.email=b@c")
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def _stages():
    Repo.init(force=True)
    return {stage.addressing: stage for stage in Repo(".").index.stages}


@pytest.mark.parametrize("shots", [[], ["1", "2", "4", "8", "16"], ["4", "full"]])
def test_dvc_takes_it(repository, monkeypatch, shots):
    profile("paper", ["cars", "food"], shots, False)
    check_params()
    stages = _stages()
    sets = ["template", *(f"dsi_{count}" for count in shots or ["full"])]
    blocks = [f"b{number}" for number in range(6)]
    drawn = {
        f"generate@{dataset}-{name}-{block}"
        for dataset in ("cars", "food")
        for name in sets
        for block in blocks
    }
    assert drawn == {name for name in stages if name.startswith("generate@")}
    outs = {out.def_path for stage in stages.values() for out in stage.outs}
    deps = {dep.def_path for stage in stages.values() for dep in stage.deps}
    given = {"data/prompts", "data/raw/cars", "data/raw/food"}
    assert {dep for dep in deps if dep.startswith("data/")} - outs == given
    for name in sets:
        assert f"data/stage_one/cars/{name}" in {dep.def_path for dep in stages["probe@cars"].deps}
        assert {f"data/sets/cars/{name}/{block}" for block in blocks} <= {
            dep.def_path for dep in stages[f"bridge@cars-{name}"].deps
        }
    read = _report_reads(stages["report@cars"].cmd, monkeypatch)
    made = {stage: {out.def_path for out in stages[stage].outs} for stage in stages}
    results = [f"finetune_{family}@cars-{name}" for family in ("mixed", "bridged") for name in sets]
    results += ["finetune_real@cars", "tune_clip@cars"]
    assert read["final"] == {
        out for stage in results for out in made[stage] if out.startswith("data/results/")
    }
    assert read["blocks"] == {f"data/sets/cars/{name}/b0" for name in sets}
    assert read["styles"] == set.union(*(made[f"invert@cars-{name}"] for name in sets))
    assert set.union(*read.values()) <= {dep.def_path for dep in stages["report@cars"].deps}


def _report_reads(cmd, monkeypatch):
    """Return the folders that the stage is handed, by its own reading of its command."""
    handed = {}
    monkeypatch.setattr(report, "report", lambda *_, **paths: handed.update(paths))
    report.main(shlex.split(cmd)[3:])  # python src report
    by_set = {name: handed[name].values() for name in ("styles", "blocks", "examined")}
    return {
        name: {path.as_posix() for path in paths}
        for name, paths in {"final": handed["final"], **by_set}.items()
    }


def test_the_default_is_what_its_own_lists_give():
    """So a profile changes no more of dvc.yaml than sets and blocks, and leads back as well."""
    assert fit(PIPELINE, DEFAULT) == PIPELINE
    there = fit(PIPELINE, _composed(), largest_volume=LARGEST_VOLUME)
    assert there != PIPELINE
    assert fit(there, DEFAULT, largest_volume=180) == PIPELINE


@pytest.mark.parametrize("generated", [["a", "b"], ["a"], []])
def test_a_pipeline_reads_what_its_stages_make(generated):
    """A retrieved set has no style; coming from a pipeline without one, it gets none."""
    retrieved = [name for name in ("a", "b", "c") if name not in generated]
    lists = {
        "sets": [*generated, *retrieved],
        "generated_sets": generated,
        "retrieved_sets": retrieved,
    }
    there = fit(PIPELINE, _composed(), largest_volume=LARGEST_VOLUME)
    text = fit(there, DEFAULT.model_copy(update=lists))
    stages = expand(_yaml(text), {**DEFAULT.model_dump(), **lists})
    outs = {out for stage in stages.values() for out in stage.outs}
    deps = {dep for stage in stages.values() for dep in stage.deps if dep.startswith("data/")}
    assert deps - outs <= {"data/prompts", "data/raw/digits"}
    styles = {dep for dep in stages["report@digits"].deps if dep.startswith("data/styles/")}
    assert styles == {f"data/styles/digits/{name}" for name in generated}
    for name, stage in _yaml(PIPELINE)["stages"].items():
        if name not in ("probe", "report", "deliver"):
            blocks = r"/?b[0-5](?=$|\.json$)"
            changed = _without(_yaml(text)["stages"][name], blocks)
            assert changed == _without(stage, blocks)


def _yaml(text):
    return YAML(typ="safe").load(text)


def _without(value, pattern):
    """Return the values with what stands for blocks taken out, and lists as sets."""
    if isinstance(value, dict):
        return {key: _without(part, pattern) for key, part in value.items()}
    if isinstance(value, list):
        return {str(_without(part, pattern)) for part in value}
    return re.sub(pattern, "", value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_what_git_has_not_kept_is_not_overwritten(repository, name):
    changed = (repository / name).read_text() + "# mine\n"
    (repository / name).write_text(changed)
    with pytest.raises(ValueError, match=f"{name} would be overwritten, and git has not kept"):
        profile("paper", ["cars"], [], False)
    assert (repository / name).read_text() == changed


def test_a_fault_leaves_everything_as_it_is(repository):
    before = {name: (repository / name).read_bytes() for name in ("params.yaml", "dvc.yaml")}
    for arguments, sentence in (
        (("papr", [], []), "'papr' is no profile; choose from paper"),
        (("paper", ["cars"], ["70"]), "profiles/paper.yaml: shots.0 is 70; choose from 1 to 64"),
    ):
        with pytest.raises(ValueError, match=sentence):
            profile(*arguments, False)
    assert before == {name: (repository / name).read_bytes() for name in before}


def test_a_profile_may_be_laid_out_otherwise():
    text = PAPER.replace("datasets:\n- aircraft\n", "datasets: [aircraft]\n")
    text = re.sub(r"(?m)^shots: .*\n- full$", "shots: [full]", text)
    assert text.count("[aircraft]") == text.count("shots: [full]") == 1
    assert _params(compose(text, ["cars"], ["1", "4"], True)) == _composed(
        "cars", shots=("1", "4"), table5=True
    )


def test_a_profile_without_a_learned_set_cannot_repeat_it():
    with pytest.raises(ValueError, match="no group synthetic.dsi_full, which --shots repeats"):
        compose(PAPER.replace("dsi_full", "mine_full"), ["cars"], ["1"], False)


def test_the_command_runs_before_any_check_of_params(repository):
    """It is the way out of a params.yaml that is wrong, too."""
    command = [sys.executable, str(ROOT / "src"), "profile", "paper", "cars", "--shots", "4", "4"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = done.stdout.splitlines()
    assert said[0] == "params.yaml: profile paper for cars, shots 4"
    length = "150 epochs of 1,000 images a class: 459,375 gradient steps"
    assert f"stage one 'mixup' of cars: {length}" in said
    assert any(re.match(r"\d+,\d{3},\d{3} gradient steps in all; hours", line) for line in said)
    assert "not pinned yet: HF_HUB_OFFLINE forbids to ask the hub" in done.stdout
    assert said[-1] == "next: commit params.yaml and dvc.yaml, then dvc repro"
    assert read_params().datasets == ["cars"]


def _guide():
    """Return the -S values of each `dvc exp run` in docs/profiles.md."""
    text = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("dvc exp run -S"):
            words = shlex.split(line, comments=True)
            yield [words[i + 1] for i, word in enumerate(words) if word == "-S"]


@pytest.mark.parametrize("overrides", list(_guide()), ids=" ".join)
def test_every_change_that_the_guide_names_is_taken(repository, overrides):
    """By DVC's own parser, into the profile; volumes fit the blocks."""
    shots = ["4", "full"] if "dsi_4" in " ".join(overrides) else []
    profile("paper", ["aircraft"], shots, False)
    before = read_params().model_dump()
    alone = [override for override in overrides if "," not in override or "[" in override]
    apply_overrides("params.yaml", alone)
    check_params()
    after = read_params()
    assert alone == [] or after.model_dump() != before
    for settings in after.synthetic.values():
        check_volume(settings.images_per_class, after.generate.images_per_block, 6)
