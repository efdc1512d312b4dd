from dataclasses import replace

import architectures as sd
import measure
import numpy as np
import pytest
import torch
import training_full
from accelerate import Accelerator
from fixed_batch import one_fixed_batch
from torch import nn
from training_full import FULL, TRIAL
from usual_training import epochs_of, train_plainly, write_folder

from synthbridge.data.shards import index_shard, read_image_bytes
from synthbridge.training.crops import WholeView
from synthbridge.training.images import ImageSet, Normalisation
from synthbridge.training.loop import Leg, train
from synthbridge.training.recipe import Recipe
from synthbridge.training.settings import TrainingSettings
from synthbridge.training.team import Team


@pytest.fixture(scope="module")
def team():
    return Team(Accelerator(cpu=True), rank=0, size=1)


def test_the_usual_loop_descends_as_sgd_is_written(team):
    """g = gradient + decay x weight; v = 0.9 v + g; weight -= rate x v."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False))
    weight = model[1].weight.detach().clone().double()
    batches = [(torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])) for _ in range(3)]
    train_plainly(model, batches, rate=0.1, team=team)
    velocity = torch.zeros_like(weight)
    for inputs, labels in batches:
        x = inputs.flatten(1).double()
        error = (x @ weight.T).softmax(1) - nn.functional.one_hot(labels, 3)  # (B, C)
        velocity = 0.9 * velocity + error.T @ x / len(x) + 5e-4 * weight
        weight = weight - 0.1 * velocity
    torch.testing.assert_close(model[1].weight.double(), weight, rtol=1e-5, atol=1e-6)


def test_batches_go_on_epoch_after_epoch():
    loader = ["a", "b", "c"]
    assert list(epochs_of(loader, 7)) == ["a", "b", "c", "a", "b", "c", "a"]  # pyright: ignore


def test_both_sides_read_the_same_jpegs(tmp_path):
    write_folder(tmp_path / "files", num_images=12, size=32, grain=8)
    training_full.pack(tmp_path / "files", tmp_path / "shard.tar")
    found = {
        (sample.label, sample.key): read_image_bytes(sample)
        for sample in index_shard(tmp_path / "shard.tar")
    }
    files = (tmp_path / "files").glob("*/*.jpg")
    assert found == {(int(file.parent.name), file.stem): file.read_bytes() for file in files}
    assert len(found) == 12


def test_ratios_are_those_of_the_arms_seconds(team, tmp_path, monkeypatch):
    seconds = {"loop": 2.0, "fixed": 1.0, "ours": 2.0, "usual": 5.0}
    ran = []

    def take_turns(arms, **_):
        for name, arm in arms.items():
            arm()
            ran.append(name)
        return {name: seconds[name] for name in arms}

    monkeypatch.setattr(measure, "take_turns", take_turns)
    scale = replace(TRIAL, num_images=4, num_workers=0, num_epochs=1, wanted=FULL.wanted)
    sd.write_backbone("resnet18", tmp_path / "resnet18")
    row = training_full.time_loader("resnet18", tmp_path, scale, team, 1)
    assert row["ratio"] == 0.5 and row["wanted"] == 0.95
    assert row["samples_per_second"] == {"loop": 1, "fixed": 2}  # a step of two images
    row = training_full.time_end_to_end(tmp_path, scale, team, 1)
    assert row["ratio"] == 2.5 and row["samples_per_second"] == {"ours": 2, "usual": 0.8}
    assert ran == ["loop", "fixed", "ours", "usual"]


def test_the_loop_on_one_fixed_batch_sees_nothing_else(team, monkeypatch):
    seen = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    inputs, labels = torch.rand(3, 3, 2, 2), torch.tensor([0, 1, 0])
    images = ImageSet(torch.zeros(6, 3, 2, 2, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64))
    recipe = Recipe(
        TrainingSettings.model_construct(
            batch_size=3, momentum=0.0, weight_decay=0.0, image_size=2, frozen_norm="eval"
        ),
        Normalisation((0.5,) * 3, (0.5,) * 3),
        WholeView(2),
    )

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("a box was drawn")

    monkeypatch.setattr(WholeView, "draw", refuse)
    with one_fixed_batch(inputs, labels):
        train(model, images, recipe, Leg(num_steps=2, learning_rate=0.1, seed=0), team)
    assert [batch is inputs for batch in seen] == [True, True]
    seen.clear()
    monkeypatch.undo()
    train(model, images, recipe, Leg(num_steps=1, learning_rate=0.1, seed=0), team)
    assert torch.equal(seen[0], torch.full((3, 3, 2, 2), -1.0))  # its own images, black ones
