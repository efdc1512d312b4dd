from pathlib import Path

import judging
import pytest
import retrieval_settings
from accelerate import Accelerator

from house import ROOT
from synthbridge.data.shards import Sample
from synthbridge.params import read_params
from synthbridge.training.team import Team


def test_a_difference_is_that_of_the_same_seed():
    assert judging.differences([3.0, 5.0], [1.0, 6.0]) == [2.0, -1.0]
    with pytest.raises(ValueError):
        judging.differences([3.0, 5.0], [1.0])


def test_sets_are_compared_seed_by_seed():
    found = {"template": [40.0, 60.0], "caption_500": [45.0, 65.0], "clip_500": [45.0, 45.0]}
    row = retrieval_settings.compare(found, "caption_500")
    assert row["accuracy"] == {"mean": 55.0, "spread": pytest.approx(200**0.5)}
    assert row["differences"] == {"template": {"mean": 5.0, "spread": 0.0}}  # the seeds' own is out
    assert row["ratio"] == pytest.approx(1.1)
    assert retrieval_settings.compare(found, "clip_500")["differences"] == {
        "template": {"mean": -5.0, "spread": pytest.approx(200**0.5)},
        "caption_500": {"mean": -10.0, "spread": pytest.approx(200**0.5)},
    }


def test_the_judge_reads_no_test_image(monkeypatch):
    asked = []

    class Dataset:
        class_names, flip = ("a", "b"), False

        def samples(self, split):
            asked.append(split)
            return [Sample(Path(), 0, 0, split, 0, {})]

    monkeypatch.setattr(judging, "load_samples", lambda samples, *_: samples)
    monkeypatch.setattr(judging, "make_recipe", lambda *_: None)
    team = Team(Accelerator(cpu=True), rank=0, size=1)
    judge = judging.Judge(read_params(ROOT / "params.yaml"), Dataset(), team)  # pyright: ignore
    assert asked == ["train", "validation"] == [sample.key for sample in judge.images]  # pyright: ignore


def test_images_found_for_two_classes_are_embedded_once():
    classes = [{"found": 5, "in_a_better_class": 2}, {"found": 4, "in_a_better_class": 0}]
    record = {"search": "caption", "pool_holds": {"images": 100}, "classes": classes}
    assert retrieval_settings.count_embedded(record) == 7
    assert retrieval_settings.count_embedded({**record, "search": "clip"}) == 100


def test_the_worst_class_is_the_one_with_most_images_of_others():
    samples = [
        Sample(Path(), 0, 0, str(index), label, {"pool_key": key})
        for index, (label, key) in enumerate([(0, "a"), (0, "b"), (1, "c"), (1, "d"), (1, "e")])
    ]
    shown = {"a": 0, "b": 1, "c": 1, "d": 0, "e": 0}
    assert retrieval_settings.worst_fraction(samples, shown) == pytest.approx(2 / 3)
