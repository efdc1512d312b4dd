import pytest
import torch
from timm import create_model

from quarters import make_images
from synthbridge.training.arms import (
    ArmData,
    ArmTraining,
    check_arms,
    describe_legs,
    leg_seeds,
    train_arm,
)
from synthbridge.training.classifier import load_backbone, unit_names
from synthbridge.training.loop import DivergedError, Leg, train
from synthbridge.training.settings import LegSettings, RealLegSettings

STAGE_ONE_STEPS = {"plain": 7}


@pytest.fixture
def data():
    return ArmData(make_images(12), make_images(30), num_classes=4)


def _fresh(backbone, seed):
    return load_backbone(backbone, num_classes=4, seed=seed, start="random")


def _run(legs, data, backbone, recipe, team, rate=0.05):
    arm = ArmTraining(
        legs=[LegSettings(**leg) for leg in legs],
        learning_rate=rate,
        real_leg=RealLegSettings(
            learning_rates=[rate], select_on="validation", num_epochs=3, num_epochs_few_shot=5
        ),
        stage_one_steps=STAGE_ONE_STEPS,
        is_few_shot=True,
        fresh_model=lambda seed: _fresh(backbone, seed),
        seed=0,
    )
    return train_arm(arm, load_backbone(backbone, num_classes=4, seed=0), data, recipe, team)


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


def test_a_synthetic_leg_is_training_on_the_synthetic_images_alone(data, backbone, recipe, team):
    """The same weights as the loop gives on them; its steps are counted on the real images."""
    assert torch.equal(data.synthetic.images, data.mixed.images[12:])
    trained = _run([{"train_on": "synthetic"}], data, backbone, recipe, team)
    assert (trained.num_train, trained.gradient_steps) == (18, 10)
    direct = load_backbone(backbone, num_classes=4, seed=0)
    leg = Leg(num_steps=10, learning_rate=0.05, seed=leg_seeds(0, 1)[0])
    train(direct, data.synthetic, recipe, leg, team)
    weights = direct.state_dict()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_units_from_real_images_stay_in_a_leg_on_synthetic_ones(data, backbone, recipe, team):
    """Gap's layer-wise transfer: real first, then frozen, the rest on the other source."""

    def weights(*legs):
        return _run(list(legs), data, backbone, recipe, team).model.state_dict()

    real = {"train_on": "real"}
    after_first = weights(real)
    other = weights(real, {"train_on": "synthetic", "frozen_units": 3})
    same = weights(real, {"train_on": "real", "frozen_units": 3})
    model = load_backbone(backbone, num_classes=4, seed=0)
    frozen_layers = {name.rpartition(".")[0] for unit in unit_names(model)[:3] for name in unit}
    frozen = {name for name in other if name.rpartition(".")[0] in frozen_layers}
    assert any(name.endswith("running_mean") for name in frozen)
    for name in frozen:
        assert torch.equal(other[name], after_first[name]), name
        assert torch.equal(same[name], after_first[name]), name
    moved = [name for name, _ in model.named_parameters() if name in frozen]
    assert any(not torch.equal(after_first[name], model.state_dict()[name]) for name in moved)
    for name in ("fc.weight", "fc.bias"):
        assert not torch.equal(other[name], same[name]), name


@pytest.mark.parametrize("order", [("real", "synthetic"), ("synthetic", "real")])
@pytest.mark.parametrize("num_units", [0, 3, 5])
def test_transferred_units_stay_and_all_above_start_anew(
    num_units, order, data, backbone, recipe, team
):
    """Gap's transfer, in both directions."""
    donor_leg = {"train_on": order[0]}
    legs = [donor_leg, {"train_on": order[1], "transferred_units": num_units}]

    def weights(legs, rate):
        return _run(legs, data, backbone, recipe, team, rate).model.state_dict()

    donor, trained = weights([donor_leg], 0.05), weights(legs, 0.05)
    model = load_backbone(backbone, num_classes=4, seed=0)
    layers = {name.rpartition(".")[0] for unit in unit_names(model)[:num_units] for name in unit}
    kept = {name for name in donor if name.rpartition(".")[0] in layers}
    for name in kept:
        assert torch.equal(trained[name], donor[name]), name
    # A rate of nearly nothing shows where the second leg starts.
    start, fresh = weights(legs, 1e-12), _fresh(backbone, leg_seeds(0, 2)[1])
    for name, drawn in fresh.named_parameters():
        is_drawn = torch.allclose(start[name], drawn, atol=1e-6)
        assert is_drawn or name in kept, name
    for name in ("fc.weight", "layer4.0.conv1.weight"):
        assert name in kept or not torch.allclose(start[name], donor[name], atol=1e-3)


@pytest.mark.parametrize(
    "leg", [{"synthetic_fraction": 0.5}, {"synthetic_weight": 0.2}, {"auxiliary_norm": True}]
)
def test_every_way_to_mix_trains_and_differs(leg, data, backbone, recipe, team):
    plain = _run([{"train_on": "mixed"}], data, backbone, recipe, team)
    other = _run([{"train_on": "mixed", **leg}], data, backbone, recipe, team)
    assert other.gradient_steps == plain.gradient_steps == 10 and other.num_train == 30
    assert other.curve.train_loss != plain.curve.train_loss
    assert other.model.state_dict().keys() == plain.model.state_dict().keys()


def test_what_a_model_cannot_do_is_refused_before_training(backbone, recipe):
    def legs(**options):
        return {"mine": [LegSettings(train_on="real"), LegSettings(train_on="mixed", **options)]}

    model = load_backbone(backbone, num_classes=4, seed=0)
    check_arms(legs(frozen_units=4, auxiliary_norm=True), model, recipe.settings)
    with pytest.raises(ValueError, match="arm 'mine', leg 2: frozen_units is 6, but the model has"):
        check_arms(legs(frozen_units=6), model, recipe.settings)
    with pytest.raises(ValueError, match="leg 2: transferred_units is 6, but the model has 6 unit"):
        check_arms(legs(transferred_units=6), model, recipe.settings)
    check_arms(legs(auxiliary_norm=True), create_model("test_vit"), recipe.settings)
    with torch.device("meta"):
        without_norms = create_model("vgg11")
    with pytest.raises(ValueError, match="leg 2: auxiliary_norm gives synthetic images batch or"):
        check_arms(legs(auxiliary_norm=True), without_norms, recipe.settings)


def test_options_left_alone_are_no_part_of_a_key():
    legs = [LegSettings(train_on="mixed", synthetic_fraction=None, synthetic_weight=1.0)]
    assert describe_legs(legs) == [{"train_on": "mixed"}]
    assert describe_legs([LegSettings(train_on="mixed", synthetic_fraction=0.5)]) == [
        {"train_on": "mixed", "synthetic_fraction": 0.5}
    ]
