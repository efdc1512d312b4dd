import numpy as np
import pytest
from evidence.made_runs import make_run, runs_at

from synthbridge.evidence.classes import class_changes
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.decision import (
    HEADLINES,
    Known,
    answer,
    changed_classes,
    label_rows,
    next_steps,
    side_by_side,
)
from synthbridge.evidence.pictures import TILE, Pictures
from synthbridge.evidence.verdict import VERDICTS

MADE_OF = {"dsi_4": {"shots": 4, "images_per_class": 60}}
CHOICE = {"arm": "bridged", "set": "dsi_4", "shots": 4, "num_members": 1, "measure": "top1"}
CHOICE |= {"num_held_out": 1200, "num_close": 7, "candidates": [{}] * 21}
CHOICE |= {"seeds": [0, 1, 2]}
CHOICE |= {"test": {"accuracy": 89.2, "low": 86.1, "high": 91.9, "mean_over_seeds": 88.8}}


@pytest.fixture
def known(settings):
    """Know an arm that reads `accuracy` beside vanilla's 60 %."""

    def make(accuracy=0.8, control=True, delivered=None, num_seeds=4, primary=True):
        few = {"num_seeds": num_seeds}
        runs = [*runs_at(0.6, **few), *runs_at(accuracy, arm="bridged", name="dsi_4", **few)]
        runs += runs_at(0.65, arm="vanilla_equal_steps", **few) if control else []
        chosen = settings if primary else settings.model_copy(update={"primary": None})
        return Known(runs, compare_runs(runs, chosen), chosen, {}, MADE_OF, delivered)

    return make


def test_every_verdict_has_a_headline():
    assert set(HEADLINES) == set(VERDICTS)


def test_the_answer_says_by_how_much_and_how_sure(known):
    found = answer(known())
    assert found["word"] == "helps" and found["headline"] == "They help."
    assert found["what"] == "bridged with dsi images, 4 real images a class"
    sentence = found["sentence"]
    assert sentence.startswith("With dsi images, bridged reads 80.5 % of the test images; vanilla,")
    assert "60.5 %: +20.0 points, 95 % interval +" in sentence
    assert "With as many gradient steps vanilla reads 65.5 %: +15.0 points" in sentence
    assert sentence.endswith("4 seeds, 200 test images.")


def test_the_answer_says_what_is_missing(known):
    without = answer(known(control=False))
    assert without["word"] == "cannot tell"
    assert "No run on real images alone took as many gradient steps." in without["sentence"]
    few = answer(known(num_seeds=2))["sentence"]
    assert "without an interval" in few and "2 seeds: an interval needs 3." in few
    assert answer(known(primary=False)) is None


def steps_of(known):
    return {step["heading"]: step for step in next_steps(known, "digits")}


def test_the_delivered_model_is_named_with_its_folder(known):
    step = steps_of(known(delivered=CHOICE))["Use the model"]
    said = " ".join(step["sentences"])
    assert said.startswith("data/delivered/digits holds one model (bridged, dsi_4, 4 shots)")
    assert "1,200 held-out training images" in said and "reads 89.2 % of the test images" in said
    assert "on average over 3 seeds, 88.8 % are read." in said
    assert "Of 20 other candidates the held-out images cannot tell 7 from it." in said
    assert step["command"] == "python src predict PHOTOS --model data/delivered/digits"


def test_a_model_of_real_images_alone_and_all_seeds_together_are_called_so(known):
    choice = {**CHOICE, "set": None, "arm": "vanilla", "num_members": 8, "num_close": 0}
    [said] = steps_of(known(delivered=choice))["Use the model"]["sentences"]
    assert "8 models together (vanilla, real images alone, 4 shots)" in said


def test_what_was_not_measured_is_called_so(known):
    steps = steps_of(known())
    assert set(steps) == {"Draw more?", "Label more?"}
    for step in steps.values():
        assert step["sentences"][0].startswith("Not measured")
    assert steps["Draw more?"]["command"] == "python src sets add dsi_more_4 --like dsi_4"


def test_a_verdict_that_cannot_tell_is_followed_by_what_may(known):
    assert "Make sure" in steps_of(known(control=False))
    assert "Make sure" not in steps_of(known())


def test_label_rows_say_what_each_label_brings(known, settings):
    runs = [*known().runs, *runs_at(0.7, shots=9, num_train=90)]
    [row] = label_rows(Known(runs, [], settings, {}, {}, None))
    assert row["step"] == "4 shots to 9 shots" and row["images"] == "25"
    assert row["labels"].startswith("+10.0 [") and row["each"].startswith("+0.40 [")
    assert row["drawn"].startswith("+20.0 [") and row["instead"].startswith("+10.0 [")


def _pictures(**about):
    tiles = np.zeros((6, 2, TILE, TILE, 3), np.uint8)
    names = [f"class {label}" for label in range(6)]
    sets = {"real": tiles, "template": tiles, "dsi_4": tiles}
    return Pictures(class_names=names, labels=list(range(6)), tiles=sets, **about)


def test_real_images_stand_beside_those_of_the_verdict():
    rows = side_by_side(_pictures(), "dsi_4")
    assert [row["class"] for row in rows] == ["class 0", "class 2", "class 3", "class 5"]
    assert {row["drawn"] for row in rows} == {"dsi_4"}
    assert [image["alt"] for image in rows[0]["images"]] == [
        "real images of class 0",
        "dsi_4 images of class 0",
    ]
    assert side_by_side(_pictures(), None)[0]["drawn"] == "template"
    assert side_by_side(Pictures(class_names=["a"]), "dsi_4") == []


def test_changed_classes_have_pictures_of_what_changed(known, monkeypatch):
    labels, without, with_images = [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0]
    pairs = [
        (
            make_run("bridged", seed, with_images, labels, name="dsi_4"),
            make_run("vanilla", seed, without, labels),
        )
        for seed in range(3)
    ]
    changes = class_changes(pairs, 0.95)
    tile = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(Pictures, "test_tile", lambda self, index: tile)
    found = changed_classes(known(), pairs, changes, _pictures(test=["a", "b", "c", "d"]))
    assert found["num_classes"] == 2 and found["has_flips"]
    [won], [lost] = found["won"], found["lost"]
    assert (won["class"], lost["class"]) == ("class 0", "class 1")
    assert [flip["after"] for flip in won["flips"]] == ["class 0", "class 0"]
    assert won["flips"][0]["alt"] == (
        "a test image of class 0: class 1 by 3 of 3 models of vanilla, class 0 by 3 of bridged"
    )
    bare = changed_classes(known(), pairs, changes, _pictures())
    assert not bare["has_flips"] and bare["won"][0]["flips"] == []
