"""How long a stage one is: steps, or epochs of a set of a stated size."""

import pytest

from quarters import training_settings
from synthbridge.core.settings import check_settings
from synthbridge.training.settings import StageOneSettings, TrainingSettings, stage_one_steps

PAPERS = {"num_epochs": 150, "images_per_class": 1000}


def _stage_one(**length):
    return StageOneSettings(learning_rate=0.01, mixup=0.0, **length)


def test_the_length_in_steps_is_computed_from_classes_and_batch():
    assert _stage_one(**PAPERS).steps(100, 64) == 234_375
    assert _stage_one(**PAPERS).steps(101, 128) == 118_360  # 118,359.375: rounded up
    assert _stage_one(num_steps=80).steps(100, 64) == 80


@pytest.mark.parametrize(
    ("length", "found"),
    [
        ({}, "none of them"),
        ({"num_epochs": 150}, "num_epochs"),
        ({"images_per_class": 1000}, "images_per_class"),
        ({"num_steps": 80, "num_epochs": 150}, "num_steps and num_epochs"),
        ({"num_steps": 80, **PAPERS}, "num_steps and num_epochs and images_per_class"),
    ],
)
def test_both_lengths_none_or_half_of_one_are_refused(length, found):
    with pytest.raises(ValueError, match=f"but has {found}; give one of the two"):
        _stage_one(**length)


def test_every_stage_one_has_its_own_length():
    lengths = {"short": _stage_one(num_steps=80), "papers": _stage_one(**PAPERS)}
    assert stage_one_steps(lengths, 100, 64) == {"short": 80, "papers": 234_375}


def test_one_image_a_step_is_refused_and_two_are_not():
    values = training_settings().model_dump()
    assert check_settings(TrainingSettings, {**values, "batch_size": 2}, "training").batch_size == 2
    with pytest.raises(ValueError, match=r"training.batch_size is 1; a batch norm cannot learn"):
        check_settings(TrainingSettings, {**values, "batch_size": 1}, "training")
