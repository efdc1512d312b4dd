"""What the card says; its numbers are tested with the stage."""

import math

import pytest

from synthbridge.delivery.card import Difference, ModelCard, OnTest, Read, write_card
from synthbridge.delivery.model import Preprocessing
from synthbridge.training.images import Normalisation

AGAINST = [Difference("vanilla", 86.5, 2.7, 0.8, 4.8), Difference("other", 88.9, 0.3, -1.9, 2.4)]


def _card(**changes):
    """Return a card's words, on one line."""
    test = OnTest(91.5, 89.5, 93.2, 89.2, 899, 0.95, AGAINST)
    values = {
        "dataset": "birds",
        "source": "folder",
        "class_names": ["crow", "rook"],
        "counts": {"train": 748, "validation": 150, "test": 899},
        "shots": 4,
        "seeds": [0, 1, 2],
        "seed": 2,
        "num_members": 1,
        "together": None,
        "read": [Read("vanilla", None, 86.6), Read("bridged", "dsi_4", 88.6)],
        "best": 1,
        "num_close": 1,
        "measure": "top1",
        "selected_on": "validation",
        "origins": ["Backbone: small."],
        "test": test,
        "architecture": "resnet18",
        "preprocessing": Preprocessing(224, 256, Normalisation((0.5,) * 3, (0.25,) * 3), None),
        "tolerance": 1e-4,
    }
    return " ".join(write_card(ModelCard(**{**values, **changes})).split())


def test_the_chosen_arm_and_its_controls_are_named():
    card = _card()
    assert "Arm `bridged` with set `dsi_4` read 88.6 % of 150 held-out training images" in card
    assert "| bridged | dsi_4 | 88.6 | chosen |" in card and "| vanilla | | 86.6 | |" in card
    assert "| vanilla | 86.5 | +2.7 [+0.8, +4.8] |" in card
    assert "95% interval 89.5 to 93.2 %" in card and "number 2 is delivered, the median" in card
    assert "Arm `vanilla`, without a set, read 86.6 %" in _card(best=0)


def test_too_few_seeds_have_no_interval():
    against = [Difference("vanilla", 86.5, 2.7, math.nan, math.nan)]
    card = _card(test=OnTest(91.5, 89.5, 93.2, 89.2, 899, 0.95, against))
    assert "| vanilla | 86.5 | +2.7 (no interval) |" in card


def test_what_cannot_be_told_apart_is_said():
    assert "1 of the 1 others lie within two standard errors" in _card()
    assert "All 1 others lie more than two standard errors" in _card(num_close=0)
    alone = {"read": [Read("vanilla", None, 86.6)], "best": 0, "num_close": 0}
    assert "There was nothing else to choose from." in _card(**alone)


@pytest.mark.parametrize(
    ("selected_on", "sentence"),
    [
        ("validation", "The same held-out images had chosen the learning rate"),
        ("test", "**The learning rate was selected on test images**"),
        ("nothing", "No label chose the learning rate"),
    ],
)
def test_the_card_says_what_chose_the_learning_rate(selected_on, sentence):
    assert sentence in _card(selected_on=selected_on)


def test_the_inputs_are_said_in_numbers():
    card = _card()
    assert "shorter side resized to 256 pixels" in card and "central 224 x 224" in card
    assert "less the mean (0.5, 0.5, 0.5)" in card and "stored anew" not in card
    reduced = Preprocessing(224, 256, Normalisation((0.5,) * 3, (0.25,) * 3), 512)
    assert "shorter side above 512 pixels are first reduced" in _card(preprocessing=reduced)


def test_the_head_leaves_the_licence_to_its_owner():
    assert _card().startswith("--- license: unknown library_name: timm ")
    assert "write the licence that you give it into the head" in _card()


def test_the_measure_is_named():
    assert "(mean accuracy per class;" in _card(measure="mean_per_class")


def test_a_few_shot_ensemble_is_no_result_at_its_shots():
    """Its members have seen images of their own."""
    card = _card(shots=4, num_members=3, together=96.0)
    assert "together they have seen up to 12: what they read together is no result at 4 im" in card
    assert "seen up to" not in _card(shots="full", num_members=3, together=96.0)
    assert "no better than one on average" in _card(shots=4, num_members=1, together=80.0)
