"""Oracle words: a prompt's CLIP embedding moves to the mean of a class's images."""

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from synthbridge.diffusion.class_tokens import name_vectors
from synthbridge.diffusion.families.stable_diffusion import StableDiffusion
from synthbridge.diffusion.oracle import (
    OracleObjective,
    check_tower,
    invert_means,
    mean_directions,
)
from synthbridge.diffusion.prompts import class_prompt
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import put_words

NAMES = ("cat", "dog", "sea lion")
SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=90,
    batch_size=2,
    learning_rate=0.05,
    samples_per_class=1,
    seed=0,
)


@pytest.fixture
def tower(generator: StableDiffusion) -> CLIPTextModelWithProjection:
    """The generator's text encoder with a projection to 8 numbers: CLIP's text tower."""
    torch.manual_seed(1)
    config = CLIPTextConfig(**{**generator.text_encoders[0].config.to_dict(), "projection_dim": 8})
    tower = CLIPTextModelWithProjection(config)
    weights = {
        f"text_model.{name.removeprefix('text_model.')}": weight
        for name, weight in generator.text_encoders[0].state_dict().items()
    }
    missing, unexpected = tower.load_state_dict(weights, strict=False)
    assert missing == ["text_projection.weight"] and not unexpected
    return tower.eval()


@pytest.fixture
def targets() -> torch.Tensor:
    draws = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(draws, dim=-1)


def embed(tower: CLIPTextModelWithProjection, generator: StableDiffusion, texts) -> torch.Tensor:
    ids = (
        generator.vocabularies[0]
        .tokenizer(list(texts), padding="max_length", return_tensors="pt")
        .input_ids
    )
    with torch.no_grad():
        return torch.nn.functional.normalize(tower(ids).text_embeds, dim=-1)


def test_the_loss_is_what_transformers_says(generator, tower, targets):
    projection = tower.text_projection.weight.detach()
    objective = OracleObjective(generator, projection, targets, "style")
    vectors = list(name_vectors(generator, NAMES))
    cat_and_lion = torch.tensor([0, 2])
    ours = objective.loss([vectors[0], vectors[1], -vectors[2]], cat_and_lion)
    # transformers embeds the words in the prompt; the third is a row of the table, put there.
    put_words(generator, {"<w>": -vectors[2]})
    tower.resize_token_embeddings(len(generator.vocabularies[0].tokenizer), mean_resizing=False)
    with torch.no_grad():
        tower.get_input_embeddings().weight[-1] = -vectors[2]
    expected = embed(tower, generator, [class_prompt("cat"), class_prompt("<w>")])
    cosine = (expected * targets[cat_and_lion]).sum(-1)
    assert ours.item() == pytest.approx(1 - cosine.mean().item(), abs=1e-5)


def test_prompts_come_near_to_the_means(generator, tower, targets):
    projection = tower.text_projection.weight.detach()
    before = generator.text_encoders[0].get_input_embeddings().weight.clone()
    learned = invert_means(generator, SETTINGS, projection, targets, NAMES)
    assert torch.equal(generator.text_encoders[0].get_input_embeddings().weight, before)
    readings = list(learned.fixed_noise_losses.values())
    objective = OracleObjective(generator, projection, targets, "style")
    every = torch.arange(3)
    start = objective.loss(list(name_vectors(generator, NAMES)), every).item()
    assert readings[0] == pytest.approx(start, abs=1e-6)
    assert readings[-1] == pytest.approx(objective.loss(list(learned.vectors), every).item())
    assert readings[-1] < start / 2
    assert learned.vectors.shape == (3, 32)


def test_the_same_words_again(generator, tower, targets):
    settings = SETTINGS.model_copy(update={"num_steps": 5})
    projection = tower.text_projection.weight.detach()
    first, second = (
        invert_means(generator, settings, projection, targets, NAMES) for _ in range(2)
    )
    assert torch.equal(first.vectors, second.vectors) and first.losses == second.losses


def test_means_are_of_each_class_and_unit():
    embeddings = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    means = mean_directions(embeddings, [0, 0, 1], 2)
    torch.testing.assert_close(means, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, -1.0]]))


def test_another_clip_is_refused(generator, tower):
    projection = tower.text_projection.weight.detach()
    check_tower(generator, projection, NAMES, embed(tower, generator, NAMES).numpy())
    with pytest.raises(ValueError, match=r"has 32 numbers a word, and the text tower of CLIP 768"):
        check_tower(generator, torch.zeros(8, 768), NAMES, np.zeros((3, 8)))
    torch.manual_seed(3)
    other = CLIPTextModelWithProjection(tower.config).eval()
    with pytest.raises(ValueError, match=r"at a cosine of -?0\.\d+; oracle prompts need the CLIP"):
        check_tower(generator, projection, NAMES, embed(other, generator, NAMES).numpy())
