import pytest

from house import ROOT
from synthbridge.commands import study
from synthbridge.commands.study import main
from synthbridge.core.files import write_text
from synthbridge.core.settings import read_yaml

STUDY = """\
title: {name}
cites: nobody
reading: stated
question: How much?
draws: figure
axis: guidance
lines:
- {{row: bridged, arm: bridged, sets: [template]}}
miniature:
  targets: ["finetune_bridged@{{dataset}}-template"]
  points:
{points}
full: {{prepare: wait}}
paper: {{words: W}}
"""
POINT = "  - {{x: {x}, overrides: {{{key}: {value}}}}}\n"
GUIDANCE = "synthetic.template.guidance_scale"
NUM_CLASSES = 10  # of the digits


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder with the repository's pipeline and studies of our own, where nothing may run."""
    for name in ("params.yaml", "dvc.yaml", "dvc.lock", "src", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    own = read_yaml(ROOT / "params.yaml")["synthetic"]["template"]["guidance_scale"]
    _write(tmp_path, "three", [(x, GUIDANCE, x) for x in (own, 3.25, 4.25)])
    _write(tmp_path, "shared", [(x, GUIDANCE, x) for x in (4.25, 5.25)])
    _write(tmp_path, "own", [(1, GUIDANCE, own)])
    _write(tmp_path, "unknown", [(1, "upstream.backbone.model", "test_vit")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "is_known", lambda _: False)  # no point has been run

    def refuse(*_, **__):
        raise AssertionError("a list must run nothing")

    monkeypatch.setattr(study, "run_experiments", refuse)
    return tmp_path


def _write(folder, name, points):
    lines = "".join(POINT.format(x=x, key=key, value=value) for x, key, value in points)
    write_text(folder / f"studies/{name}.yaml", STUDY.format(name=name, points=lines))


def _listed(capsys, *arguments):
    """Return points, those to run, images, steps and minutes of each study, and the last line."""
    main([*arguments, "--list", "--jobs", "2"])
    _, *lines, total = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line.split()[1:6] for line in lines}, total


def _images(num_points):
    """Count the images that points of a guidance scale of their own draw."""
    settings = read_yaml(ROOT / "params.yaml")["synthetic"]["template"]
    return num_points * settings["images_per_class"] * NUM_CLASSES


def test_the_list_says_what_a_study_would_cost_and_runs_nothing(scratch, capsys):
    before = sorted(path.name for path in scratch.iterdir())
    listed, total = _listed(capsys, "three", "own")
    points, to_run, images, steps, minutes = listed["three"]
    assert (points, to_run, images) == ("3", "2", f"{_images(2):,}")
    assert listed["own"] == ["1", "0", "0", "0", "0.0"]
    assert f"at most {_images(2):,} images, {steps} gradient steps" in total
    assert float(minutes) > 0
    assert sorted(path.name for path in scratch.iterdir()) == before


@pytest.mark.usefixtures("scratch")
def test_a_shared_point_is_counted_once(capsys):
    listed, total = _listed(capsys, "three", "shared")
    assert [listed[name][1] for name in ("three", "shared")] == ["2", "1"]
    assert f"at most {_images(3):,} images" in total


@pytest.mark.usefixtures("scratch")
def test_points_of_a_model_without_a_speed_are_said(capsys):
    listed, total = _listed(capsys, "unknown")
    assert listed["unknown"][4].endswith("+")
    assert "1 points with models of no known speed" in total and "nan" not in total


def test_all_studies_are_listed(monkeypatch, capsys):
    """With dvc.lock and the points that git keeps, as they are."""
    monkeypatch.chdir(ROOT)
    listed, _ = _listed(capsys, "all")
    assert set(listed) == {path.stem for path in (ROOT / "studies").glob("*.yaml")}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["four"], "'four' is no study; choose from own, shared, three, unknown, or all"),
        (["three", "--jobs", "0"], "--jobs is 0; give a whole number above 0"),
        (
            ["three", "--scale", "full"],
            "--scale full, but params.yaml is the miniature one; first: wait",
        ),
    ],
)
@pytest.mark.usefixtures("scratch")
def test_a_fault_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError) as error:
        main(arguments)
    assert sentence in str(error.value)
