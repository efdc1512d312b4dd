import pytest
import torch

from quarters import make_images
from synthbridge.training.arms import ArmData, train_arm
from synthbridge.training.classifier import load_backbone
from synthbridge.training.loop import DivergedError
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings

STAGE_ONE = {
    name: StageOneSettings(num_steps=steps, learning_rate=0.1, mixup=0.0)
    for name, steps in (("plain", 7), ("long", 50))
}


@pytest.fixture
def data():
    return ArmData(make_images(12), make_images(30), make_images(8, seed=1), num_classes=4)


def _run(legs, data, backbone, recipe, team, rates=(0.05,), **changes):
    real_leg = RealLegSettings(
        learning_rates=list(rates), num_epochs=3, num_epochs_few_shot=5, **changes
    )
    starts = []

    def start():
        starts.append(load_backbone(backbone, num_classes=4, seed=0))
        return starts[-1]

    trained = train_arm(
        [LegSettings(**leg) for leg in legs],
        start,
        data,
        recipe,
        real_leg=real_leg,
        stage_one=STAGE_ONE,
        is_few_shot=True,
        seed=0,
        team=team,
    )
    return trained, starts


def test_steps_are_counted_over_all_legs(data, backbone, recipe, team):
    # 12 images at 8 a batch: two steps an epoch, five few-shot epochs.
    vanilla, _ = _run([{"train_on": "real"}], data, backbone, recipe, team)
    assert (vanilla.gradient_steps, vanilla.num_train) == (10, 12)
    longer, _ = _run([{"train_on": "real", "add_steps_of": "plain"}], data, backbone, recipe, team)
    bridged, _ = _run([{"stage_one": "plain"}, {"train_on": "real"}], data, backbone, recipe, team)
    assert longer.gradient_steps == bridged.gradient_steps == 17
    mixed, _ = _run([{"train_on": "mixed"}], data, backbone, recipe, team)
    assert (mixed.gradient_steps, mixed.num_train) == (10, 30)
    two, _ = _run([{"train_on": "real"}] * 2, data, backbone, recipe, team)
    assert two.gradient_steps == 20


def test_synthetic_only_is_the_stage_one_model_itself(data, backbone, recipe, team):
    trained, starts = _run([{"stage_one": "plain"}], data, backbone, recipe, team)
    assert trained.model is starts[0] and trained.learning_rate is None
    fresh = load_backbone(backbone, num_classes=4, seed=0)
    for mine, untouched in zip(trained.model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine, untouched)


def test_the_rate_is_the_held_out_best(data, backbone, recipe, team):
    trained, starts = _run(
        [{"train_on": "real", "add_steps_of": "long"}],
        data,
        backbone,
        recipe,
        team,
        rates=(1e-9, 0.05, 1e30),
    )
    assert trained.selection["1e+30"] == 0.0  # diverged
    assert trained.selection["0.05"] > trained.selection["1e-09"]
    assert trained.learning_rate == 0.05 and trained.model is starts[1]
    with pytest.raises(DivergedError, match="diverged at every rate"):
        _run([{"train_on": "real"}], data, backbone, recipe, team, rates=(1e30,))


def test_a_fresh_head_changes_the_start_of_a_leg_alone(data, backbone, recipe, team):
    """With a rate of nearly nothing, what differs from the start is what was drawn anew."""
    start = load_backbone(backbone, num_classes=4, seed=0).state_dict()
    trained, _ = _run(
        [{"train_on": "real", "fresh_head": True}], data, backbone, recipe, team, rates=(1e-12,)
    )
    for name, parameter in trained.model.named_parameters():
        assert torch.allclose(parameter, start[name], atol=1e-6) != name.startswith("fc."), name
