import pytest
import torch

from quarters import make_images
from synthbridge.training.arms import ArmData, train_arm
from synthbridge.training.classifier import load_backbone
from synthbridge.training.loop import DivergedError
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings

STAGE_ONE = {"plain": StageOneSettings(num_steps=7, learning_rate=0.1, mixup=0.0)}


@pytest.fixture
def data():
    return ArmData(make_images(12), make_images(30), num_classes=4)


def _run(legs, data, backbone, recipe, team, rate=0.05):
    return train_arm(
        [LegSettings(**leg) for leg in legs],
        load_backbone(backbone, num_classes=4, seed=0),
        data,
        recipe,
        learning_rate=rate,
        real_leg=RealLegSettings(
            learning_rates=[rate], select_on="validation", num_epochs=3, num_epochs_few_shot=5
        ),
        stage_one=STAGE_ONE,
        is_few_shot=True,
        seed=0,
        team=team,
    )


def test_steps_are_counted_over_all_legs(data, backbone, recipe, team):
    # 12 images at 8 a batch: two steps an epoch, five few-shot epochs.
    vanilla = _run([{"train_on": "real"}], data, backbone, recipe, team)
    assert (vanilla.gradient_steps, vanilla.num_train) == (10, 12)
    longer = _run([{"train_on": "real", "add_steps_of": "plain"}], data, backbone, recipe, team)
    bridged = _run([{"stage_one": "plain"}, {"train_on": "real"}], data, backbone, recipe, team)
    assert longer.gradient_steps == bridged.gradient_steps == 17
    mixed = _run([{"train_on": "mixed"}], data, backbone, recipe, team)
    assert (mixed.gradient_steps, mixed.num_train) == (10, 30)
    two = _run([{"train_on": "real"}] * 2, data, backbone, recipe, team)
    assert two.gradient_steps == 20


def test_synthetic_only_is_the_stage_one_model_itself(data, backbone, recipe, team):
    trained = _run([{"stage_one": "plain"}], data, backbone, recipe, team)
    assert (trained.num_train, trained.gradient_steps) == (0, 7)
    fresh = load_backbone(backbone, num_classes=4, seed=0)
    for mine, untouched in zip(trained.model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine, untouched)


def test_a_leg_that_diverges_says_so(data, backbone, recipe, team):
    with pytest.raises(DivergedError, match=r"learning rate 1e\+30; choose a lower rate"):
        _run([{"train_on": "real"}], data, backbone, recipe, team, rate=1e30)


def test_a_fresh_head_changes_the_start_of_a_leg_alone(data, backbone, recipe, team):
    """With a rate of nearly nothing, what differs from the start is what was drawn anew."""
    start = load_backbone(backbone, num_classes=4, seed=0).state_dict()
    trained = _run(
        [{"train_on": "real", "fresh_head": True}], data, backbone, recipe, team, rate=1e-12
    )
    for name, parameter in trained.model.named_parameters():
        assert torch.allclose(parameter, start[name], atol=1e-6) != name.startswith("fc."), name
