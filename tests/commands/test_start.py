"""`start`: from a folder to settings that fit it, which git takes back."""

import argparse
import shutil
import sys
from pathlib import Path

import datasets
import pytest
from scratch import clone_working_tree

from own_data import CLASSES, class_folders, encoded, fill, folders_with_copies, photo, settings
from synthbridge.commands import start as command
from synthbridge.commands.start import (
    Choice,
    Grouping,
    fit_group,
    fit_shots,
    fit_sizes,
    main,
)
from synthbridge.core.settings import read_yaml
from synthbridge.data.real import read_dataset
from synthbridge.params import read_params
from synthbridge.pipeline import check_params, expand
from synthbridge.sources.look import Form, Look, look
from synthbridge.stages.prepare import prepare
from synthbridge.upstream import hub


def _found(fewest=20, *, is_split=False, validation=None, side=500, stretch=1.3, lost=0) -> Look:
    counts = {"train": (fewest - (0 if is_split else 1), fewest + 5)}
    counts["test"] = (4, 4) if is_split else (1, 1)
    if validation:
        counts["validation"] = (validation, validation)
    size = (round(side * stretch), side)
    names = ("crow", "rook")
    return Look(names, names, counts, is_split, lost, (size,), 0.0, (lost, 0))


FORM = Form(None, "folder")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "test", "validation", "shots"),
    [
        (_found(100), 30, 10, [16, "full"]),  # 60 train: at most half of them
        (_found(20), 6, 2, [4, "full"]),
        (_found(3), 1, 1, ["full"]),
        (_found(20, lost=14), 2, 1, [1, "full"]),  # 6 that differ
        (_found(500), 50, 20, [64, "full"]),
        (_found(20, is_split=True), None, 3, [8, "full"]),
        (_found(20, is_split=True, validation=5), None, 3, [8, "full"]),
    ],
)
def test_held_out_counts_and_shots_fit_the_smallest_class(found, test, validation, shots):
    group = fit_group(FORM, found, True)
    assert (group.test_per_class, group.validation_per_class) == (test, validation)
    assert fit_shots(found, group) == shots


def test_a_class_of_two_images_is_refused():
    with pytest.raises(ValueError, match="class 'crow' has 2 images.*give each class three"):
        fit_group(FORM, _found(2), True)


@pytest.mark.parametrize("split", [True, False])
def test_what_is_chosen_for_a_class_of_copies_is_prepared(tmp_path, split):
    raw = tmp_path / "mine"
    folders_with_copies(raw, split=split)
    form = command.find_form(raw)
    found = look(form, settings())
    group = fit_group(form, found, True)
    assert (group.test_per_class, group.validation_per_class) == ((None if split else 2), 1)
    prepare(group, raw=raw, out=tmp_path / "out")
    labels = [image.label for image in read_dataset(tmp_path / "out").samples("train")]
    assert labels.count(2) >= 2 and fit_shots(found, group) == [2 if split else 1, "full"]


def test_large_photographs_are_stored_smaller():
    assert fit_group(FORM, _found(side=3000), True).max_side == 512
    assert fit_group(FORM, _found(side=500), True).max_side is None


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    scratch = clone_working_tree(tmp_path / "clone")
    monkeypatch.chdir(scratch.folder)
    return scratch


@pytest.fixture
def photos(tmp_path):
    return class_folders(tmp_path / "photos", 20)


def test_start_writes_what_runs_and_git_takes_it_back(scratch, photos, capsys):
    main(["birds", str(photos), "--gpu", "l4", "--hours", "2", "--no-flip", "--yes"])
    params = read_params()
    assert params.datasets == ["birds"] and list(params.data) == ["birds"]
    assert not params.data["birds"].flip and params.data["birds"].test_per_class == 6
    assert params.shots == [4, "full"] and params.training.batch_size == 16
    (note,) = check_params()  # allowed: runs with 4 shots use the templates' images
    assert "no set dsi_4" in note
    stages = expand(
        read_yaml(scratch.folder / "dvc.yaml"), read_yaml(scratch.folder / "params.yaml")
    )
    assert "generate@birds-dsi_full-b0" in stages and "deliver@birds" in stages
    told = capsys.readouterr().out
    assert "3 classes: American Crow, house sparrow, rook" in told
    assert "of 2 h on one NVIDIA L4, bfloat16, by predicted speeds" in told
    assert "less than the paper (in brackets)" in told and "later: python src pin" in told
    assert "made 3 classes" in scratch.dvc("repro", "prepare@birds")
    assert photos.is_dir()  # a copy
    undo = told.partition("to undo: ")[2].partition("\n")[0]
    scratch.run("sh", "-c", undo)
    assert "birds" not in scratch.git("status", "--short", "params.yaml", "dvc.yaml", "data/raw")


def test_a_dry_run_changes_nothing(scratch, photos, capsys):
    before = scratch.git("status", "--short", "-uall")
    zipped = shutil.make_archive(str(photos), "zip", photos)
    main(["birds", zipped, "--gpu", "24GB", "--yes", "--dry-run"])
    assert scratch.git("status", "--short", "-uall") == before
    assert not (scratch.folder / "data/raw/birds").exists()
    told = capsys.readouterr().out
    assert f"{zipped}: a folder a class" in told and "nothing is written: --dry-run" in told


def test_a_hub_data_set_gets_its_commit_in_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_commit", lambda *_: "f" * 40)
    given, spare = tmp_path / "given", tmp_path / "spare"
    given.mkdir()
    spare.mkdir()
    (given / "hub.yaml").write_text("id: me/birds  # theirs\n")
    form = command.open_form(given, spare)
    assert form.source == "huggingface" and form.folder.is_relative_to(spare)
    assert read_yaml(form.folder / "hub.yaml") == {"id": "me/birds", "revision": "f" * 40}
    assert (given / "hub.yaml").read_text() == "id: me/birds  # theirs\n"
    assert command.open_form(form.folder, tmp_path) == form  # nothing is asked, or copied, again


def test_what_tells_groups_is_written(scratch, photos, capsys):
    regex = r"(\d)\.jpg"
    main(["birds", str(photos), "--gpu", "none", "--yes", "--group-regex", regex])
    group = read_params().data["birds"]
    assert (group.group_by, group.group_regex) == ("regex", regex)
    assert "a folder a class, grouped by regex" in capsys.readouterr().out


def test_without_a_gpu_real_images_alone_are_left(scratch, photos):
    main(["birds", str(photos), "--gpu", "none", "--put", "link", "--yes"])
    params = read_params()
    assert params.sets == [] and params.upstream.generator is None
    assert params.report.primary is None and not check_params()
    linked = scratch.folder / "data/raw/birds/rook/0.jpg"
    assert linked.read_bytes() == (photos / "rook/0.jpg").read_bytes()


def test_numbers_get_a_names_file_to_correct(scratch, tmp_path, capsys):
    for number in range(3):
        fill(tmp_path / "numbered" / str(number), 6, 100 * number)
    main(["birds", str(tmp_path / "numbered"), "--gpu", "none", "--put", "move", "--yes"])
    names = read_yaml(scratch.folder / "data/raw/birds/names.yaml")
    assert names == {"0": "0", "1": "1", "2": "2"}
    assert "correct the names in data/raw/birds/names.yaml" in capsys.readouterr().out
    assert not (tmp_path / "numbered").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["my birds", "--gpu", "none"], "'my birds' is no name of a data set"),
        (
            ["digits", "--gpu", "none"],
            "digits is there already; choose another name, or, if these are the images, run "
            "'python src start digits data/raw/digits'",
        ),
        (["birds"], "which GPU will draw"),
        (["birds", "--gpu", "voodoo"], "--gpu is 'voodoo'; choose from t4"),
        (["birds", "--gpu", "t4", "--hours", "0"], "--hours is 0; give a number above 0"),
        (["birds", "--gpu", "t4", "--hours", "0.01"], "give it more hours or a faster GPU"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(scratch, photos, arguments, sentence):
    before = scratch.git("status", "--short", "-uall")
    name, *flags = arguments
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        main([name, str(photos), "--yes", *flags])
    assert scratch.git("status", "--short", "-uall") == before


def test_changes_that_git_has_not_kept_are_not_overwritten(scratch, photos):
    with (scratch.folder / "params.yaml").open("a") as file:
        file.write("# mine\n")
    with pytest.raises(ValueError, match=r"params.yaml would be overwritten"):
        main(["birds", str(photos), "--gpu", "none", "--yes"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "which GPU will draw"),
        (["--gpu", "voodoo"], "--gpu is 'voodoo'"),
        (["--gpu", "none", "--hours", "-1"], "--hours is -1"),
    ],
)
def test_flags_are_checked_before_an_image_is_looked_at(scratch, photos, flags, sentence, capsys):
    (photos / "rook" / "0.jpg").write_bytes(b"no image")  # which the look would refuse
    with pytest.raises(ValueError, match=sentence):
        main(["birds", str(photos), "--yes", *flags])
    assert capsys.readouterr().out == ""


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that answers what a terminal asks; None: the input ends."""

    def answer(*answers: str | None) -> None:
        given = iter(answers)

        def read(_: str) -> str:
            if (said := next(given)) is None:
                raise EOFError
            return said

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr("builtins.input", read)

    return answer


ASKED = {"name": "birds", "folder": Path("photos"), "put": None, "flip": None, "gpu": None}


def test_a_terminal_asks_until_the_answer_fits(terminal, capsys):
    terminal("perhaps", "link", "no", "4009", "4090")
    args = argparse.Namespace(**ASKED, yes=False, hours=3.0)
    assert command._choose(args) == Choice("link", False, "rtx4090", 3.0)
    told = capsys.readouterr().out
    assert "choose from copy, move, link" in told and "--gpu is '4009'; choose from t4" in told


def test_an_input_that_ends_is_a_sentence(terminal):
    terminal("copy", None)
    args = argparse.Namespace(**ASKED, yes=False, hours=3.0)
    with pytest.raises(ValueError, match="nobody answers; say --put"):
        command._choose(args)


def test_after_a_failure_of_dvc_start_goes_on_from_the_images_in_their_place(scratch, photos):
    config = scratch.folder / ".dvc/config"
    kept, before = config.read_text(), (scratch.folder / "params.yaml").read_text()
    config.write_text("[core")
    flags = ["--gpu", "none", "--yes", "--put", "move"]
    with pytest.raises(ValueError, match=r"'dvc add .*run 'python src start birds data/raw/birds'"):
        main(["birds", str(photos), *flags])
    assert not photos.exists() and (scratch.folder / "params.yaml").read_text() == before
    config.write_text(kept)
    with pytest.raises(ValueError, match="'python src start birds data/raw/birds'"):
        main(["birds", str(scratch.folder), *flags])
    for _ in range(2):  # and again, once DVC keeps them
        main(["birds", "data/raw/birds", *flags])
        assert read_params().datasets == ["birds"]
        assert (scratch.folder / "data/raw/birds.dvc").is_file()
        assert (scratch.folder / "data/raw/birds/rook/0.jpg").is_file()
        scratch.git("checkout", "-q", "HEAD", "params.yaml", "dvc.yaml")


def test_images_in_their_place_are_not_asked_about(scratch, terminal):
    class_folders(scratch.folder / "data/raw/birds", 4)
    terminal("yes", "none")
    args = argparse.Namespace(**{**ASKED, "folder": Path("data/raw/birds")}, yes=False, hours=3.0)
    assert command._choose(args) == Choice(None, True, None, 3.0)


def test_images_a_level_below_their_place_are_refused(scratch):
    class_folders(scratch.folder / "data/raw/birds/photos", 4)
    with pytest.raises(ValueError, match="holds the folder photos alone; move what lies in it up"):
        main(["birds", "data/raw/birds", "--gpu", "none", "--yes"])


def test_a_hub_data_set_in_its_place_gets_its_commit_there(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_commit", lambda *_: "f" * 40)
    place, spare = tmp_path / "birds", tmp_path / "spare"
    for folder in (place, spare):
        folder.mkdir()
    (place / "hub.yaml").write_text("id: me/birds  # theirs\n")
    form = command.open_form(place, spare)
    command._refuse_lower(form, place)
    command._keep_commit(form, place)
    assert (place / "hub.yaml").read_text() == f"id: me/birds  # theirs\nrevision: {'f' * 40}\n"


def test_what_of_the_hub_has_no_hub_yaml_is_told_to_write_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"a folder with a hub.yaml that says 'id: owner/birds'"):
        command.open_form(Path("owner/birds"), tmp_path / "spare")
    with pytest.raises(ValueError, match="birds does not exist; name the folder of your images$"):
        command.open_form(Path("birds"), tmp_path / "spare")


@pytest.mark.parametrize("below", [".", "data"])
def test_rows_of_the_hubs_form_are_read_by_the_line_that_is_named(tmp_path, below):
    folder = tmp_path / "birds"
    (folder / below).mkdir(parents=True)
    images = [{"bytes": encoded(photo(seed)), "path": None} for seed in range(12)]
    names = datasets.ClassLabel(names=["crow", "rook"])
    features = datasets.Features({"image": datasets.Image(), "label": names})
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 6}, features=features)
    rows.to_parquet(str(folder / below / "train-00000-of-00001.parquet"))
    with pytest.raises(ValueError, match=r"hub.yaml with the line 'id: \.'"):
        command.open_form(folder, tmp_path / "spare")
    (folder / "hub.yaml").write_text("id: .\n")
    form = command.open_form(folder, tmp_path / "spare")
    found = look(form, command._group(form, Grouping(), validation_per_class=1, flip=False))
    assert found.names == ("crow", "rook") and sum(found.learnable) == 12


@pytest.mark.parametrize(
    ("side", "stretch", "image_size", "resize_size"),
    [(28, 1.0, 128, 160), (28, 3.0, 128, 128), (96, 1.0, 224, 256), (500, 1.7, 224, 224)],
)
def test_small_images_are_seen_at_fewer_pixels(side, stretch, image_size, resize_size):
    found = _found(side=side, stretch=stretch)
    sizes = fit_sizes(found, {"image_size": 224, "resize_size": 256})
    assert sizes == {"image_size": image_size, "resize_size": resize_size}


def test_equal_counts_and_sides_are_said_once(tmp_path):
    counts = {"train": (16, 16), "test": (4, 4)}
    names = ("crow", "rook")
    found = Look(names, names, counts, True, 1, ((224, 224),), 0.0, (0, 0))
    told = "\n".join(command.describe(tmp_path, FORM, found))
    assert "  16 images a class\n  shorter side 224 pixels\n" in told
    assert "1 image is a copy of another" in told
    told = "\n".join(command.describe(tmp_path, FORM, _found(20)))
    assert "20 to 26 images a class, 23 in the middle; fewest: crow" in told


def test_elongated_photographs_are_cut_less(scratch, tmp_path, capsys):
    for number, name in enumerate(CLASSES):
        folder = tmp_path / "long" / name
        folder.mkdir(parents=True)
        for i in range(6):
            (folder / f"{i}.jpg").write_bytes(encoded(photo(100 * number + i, (60, 20))))
    main(["birds", str(tmp_path / "long"), "--gpu", "l4", "--yes"])
    training = read_params().training
    assert (training.image_size, training.resize_size) == (128, 128)
    assert "the network sees 128 x 128 pixels" in capsys.readouterr().out
