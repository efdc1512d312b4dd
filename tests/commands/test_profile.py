"""Profiles: the paper's settings hold the paper's facts, and DVC takes them."""

import shlex
import subprocess
import sys

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.commands.profile import compose, fit_pipeline, profile, repeat_lines
from synthbridge.core.settings import check_settings
from synthbridge.data.synthetic import check_volume
from synthbridge.params import Params, read_params
from synthbridge.pipeline import check_params

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
    "seeds": [0, 1, 2],
    "shots": ["full"],
}
CHOSEN = {  # fidelity: where the paper is silent
    "invert.batch_size": 4,
    "invert.learning_rate": 2e-3,
    "generate.num_steps": 50,
    "training.momentum": 0.9,
    "training.resize_size": 256,
    "training.min_crop_area": 0.08,
    "stage_one.mixup.mixup": 0.2,
    "stage_one.plain.mixup": 0.0,
    "real_leg.select_on": "validation",
    "report.primary_arm": "bridged_pp",
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


@pytest.mark.parametrize("key", [*STATED, *CHOSEN])
def test_what_the_paper_says_and_what_we_chose(key):
    assert _value(_composed("aircraft"), key) == {**STATED, **CHOSEN}[key]


def test_generator_backbone_and_sets_are_the_papers():
    params = _composed()
    assert params.upstream.generator.hub == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert params.upstream.backbone.hub == "resnet18.tv_in1k"
    assert params.upstream.clip.hub == "openai/clip-vit-large-patch14"
    assert params.upstream.generator.revision is params.upstream.backbone.revision is None
    assert params.upstream.clip.revision is None
    assert params.sets == params.generated_sets == ["template", "dsi_full"]
    for settings in params.synthetic.values():
        assert (settings.guidance_scale, settings.images_per_class) == (3.5, 1000)


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


def test_all_ten_are_there():
    assert set(_composed().data) == set(DATASETS)


def test_it_differs_from_the_default_only_where_it_means_to():
    default, paper = _leaves(DEFAULT.model_dump()), _leaves(_composed().model_dump())
    same = {name for name in default.keys() & paper.keys() if default[name] == paper[name]}
    kept = (
        "arms.",
        "clip_tuning.num_epochs",
        "clip_tuning.real_batch_size",
        "clip_tuning.sets",
        "clip_tuning.synthetic_batch_size",
        "clip_tuning.weight_decay",
        "invert.placeholder",
        "invert.initial_word",
        "invert.seed",
        "generate.seed",
        "generate.guided_fraction",
        "generate.jpeg_quality",
        "generate.compile",
        "invert.compile",
        "training.batch_size",
        "training.momentum",
        "training.weight_decay",
        "training.augment",
        "training.normalisation",
        "training.start",
        "training.frozen_norm",
        "probe.cues",
        "real_leg.select_on",
        "stage_one.mixup.mixup",
        "stage_one.plain.mixup",
        "report.measure",
        "report.smallest_gain",
        "examine.neighbours",
        "examine.max_images",
        "examine.kid_subsets",
        "examine.seed",
        "report.confidence",
        "report.num_resamples",
        "report.seed",
        "report.grid_",
        "synthetic.template.prompts",
        "synthetic.template.shots",
    )
    for name in default.keys() | paper.keys():
        if name.startswith(kept) and name != "report.measure":
            assert name in same, name
        elif not name.startswith(("upstream.", "data.", "synthetic.", "retrieved.")):
            assert name not in same or name == "report.measure", name


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
    assert _leaves(params.model_dump(exclude=lists)) == _leaves(
        _composed("cars").model_dump(exclude=lists)
    )


def test_comments_stay():
    text = compose(PAPER, ["cars"], ["1"], True)
    lost = {line.partition("#")[2] for line in PAPER.splitlines()} - {
        line.partition("#")[2] for line in text.splitlines()
    }
    assert lost == set()


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
def test_dvc_takes_it(repository, shots):
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
        assert f"data/results/cars/mixed/{name}" in stages["report@cars"].cmd
        assert f"/{name}/b0" in stages["report@cars"].cmd
    assert "/b1" not in stages["report@cars"].cmd


def test_the_default_is_what_its_own_lists_give():
    """So a profile changes no more of dvc.yaml than sets and blocks, and leads back as well."""
    assert repeat_lines(PIPELINE, DEFAULT.sets, DEFAULT.sets) == PIPELINE
    back = fit_pipeline(fit_pipeline(PIPELINE, _composed()), DEFAULT)
    blocks = [f"b{number}" for number in range(50)]  # of 60 images, for 3,000
    assert repeat_lines(back, blocks, ["b0", "b1", "b2"]) == PIPELINE


def test_generated_sets_alone_keep_lines_of_styles():
    """A retrieved set has no style; coming from a pipeline without one, it gets none."""
    lists = {"sets": ["a", "b"], "generated_sets": ["a"], "retrieved_sets": ["b"]}
    pipeline = fit_pipeline(fit_pipeline(PIPELINE, _composed()), DEFAULT.model_copy(update=lists))
    assert "data/styles/${item.dataset}/a\n" in pipeline
    assert "data/styles/${item.dataset}/b\n" not in pipeline
    assert "data/results/${item.dataset}/mixed/b\n" in pipeline


def test_lines_are_repeated_only_where_all_names_stand_in_order():
    words = repeat_lines("a: b0\n- x/b0\n- x/b1\n- y/b0\n", ["b0", "b1"], ["b0"])
    assert words == "a: b0\n- x/b0\n- y/b0\n"


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
        (("paper", ["cars"], ["70"]), "profiles/paper.yaml: shots holds 70; choose from 1 to 64"),
    ):
        with pytest.raises(ValueError, match=sentence):
            profile(*arguments, False)
    assert before == {name: (repository / name).read_bytes() for name in before}


def test_a_profile_that_is_laid_out_otherwise_is_refused(repository):
    text = PAPER.replace("datasets:\n- aircraft\n", "datasets: [aircraft]\n")
    (repository / "profiles/mine.yaml").write_text(text)
    with pytest.raises(ValueError, match="lay it out as profiles/paper.yaml"):
        profile("mine", ["cars"], [], False)


def test_the_command_runs_before_any_check_of_params(repository):
    """It is the way out of a params.yaml that is wrong, too."""
    command = [sys.executable, str(ROOT / "src"), "profile", "paper", "cars", "--shots", "4", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "params.yaml: profile paper for cars, shots 4"
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


def test_the_guides_table_is_the_papers():
    text = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    table = text[text.index("| data sets | metric") :].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    said = {
        name.strip(" `"): (metric.replace(" ", "_").replace("top-1", "top1"), float(rate))
        for names, metric, rate in rows[2:]
        for name in names.split(",")
    }
    assert said == DATASETS
