"""What holds for every family: an image's bytes, its batch, its precision, words learned again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES

from synthbridge.diffusion import learning
from synthbridge.diffusion.class_tokens import invert_classes
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.image_guidance import guide_by
from synthbridge.diffusion.inversion import Lesson, invert_style
from synthbridge.diffusion.learning import Checkpoint
from synthbridge.diffusion.loading import load_generator, load_reader
from synthbridge.diffusion.oracle import check_tower
from synthbridge.diffusion.sampling import sample_images
from synthbridge.diffusion.settings import InversionSettings

PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of a cat", "a photo of my sea lion"]
SEEDS = [5, 6, 7, 8]
SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=4,
    batch_size=4,
    learning_rate=0.05,
    samples_per_class=1,
    seed=5,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    written: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in written:
            written[name] = FAMILIES[name].write(tmp_path_factory.mktemp(name) / "model")
        return written[name]

    return folder


# Whose words are refused by the stages alone, and what differs from another in its set alone.
IN_STAGES = {"turbo", "lcm", *(name for name, family in FAMILIES.items() if family.tuned)}


@pytest.fixture(params=[name for name in FAMILIES if name not in IN_STAGES])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def generator(name: str, folders: Callable[[str], Path]) -> Generator:
    return load_generator(folders(name))


def draw(generator: Generator, name: str, chosen: slice = slice(None), **changes: Any):
    family = FAMILIES[name]
    setting: dict[str, Any] = {
        "sampler": family.sampler,
        "num_steps": 4,
        "guidance_scale": family.guidance_scale,
        "batch_size": 4,
    }
    batches = sample_images(generator, PROMPTS[chosen], SEEDS[chosen], **{**setting, **changes})
    return np.concatenate(list(batches)).astype(int)


def images_of(generator: Generator, count: int) -> np.ndarray:
    side = generator.image_size
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_the_same_batch_the_same_bytes_and_any_batch_nearly(generator: Generator, name: str):
    together = draw(generator, name)
    assert together.shape == (4, generator.image_size, generator.image_size, 3)
    assert (draw(generator, name) == together).all()
    assert np.abs(draw(generator, name, batch_size=3) - together).max() <= 1  # in order
    assert np.abs(draw(generator, name, slice(2, 3))[0] - together[2]).max() <= 1  # alone
    assert np.abs(together[0] - together[2]).max() > 1  # the same prompt, another seed


def test_bfloat16_draws_nearly_the_same(generator: Generator, name: str):
    exact = draw(generator, name)
    rough = draw(generator.to("cpu", torch.bfloat16), name)
    assert generator.dtype == torch.bfloat16
    assert np.abs(exact - rough).mean() < 4 < exact.std()


def test_guidance_changes_the_image_where_there_is_any(generator: Generator, name: str):
    if generator.guidance == "none":
        with pytest.raises(ValueError, match="guidance"):
            draw(generator, name, guidance_scale=3.5)
        return
    plain = draw(generator, name, guidance_scale=1.0)
    assert np.abs(draw(generator, name) - plain).max() > 0
    half = draw(generator, name, guided_fraction=0.5)
    assert np.abs(half - plain).max() > 0 and np.abs(half - draw(generator, name)).max() > 0


def test_a_sampler_or_a_number_of_steps_that_it_does_not_take(generator: Generator, name: str):
    with pytest.raises(ValueError, match="sampler is lcm"):
        draw(generator, name, sampler="lcm")
    with pytest.raises(ValueError, match="num_steps is 1000"):
        draw(generator, name, num_steps=1000)


def test_a_prompt_that_is_too_long_is_refused(
    generator: Generator, name: str, folders: Callable[[str], Path]
):
    read, long = load_reader(folders(name)), ["a photo of a " + "very " * 600 + "long cat"]
    for tokenize in (generator.tokenize, read):
        with pytest.raises(ValueError, match=r"tokens, and the generator reads \d+; shorten"):
            tokenize(long)
    for ours, theirs in zip(generator.tokenize(PROMPTS), read(PROMPTS), strict=True):
        assert torch.equal(ours, theirs)


def test_images_start_from_real_ones(generator: Generator, name: str):
    images = images_of(generator, 2)
    starts = ["0", "1", "0", "1"]

    def start(strength: float) -> np.ndarray:
        guidance = guide_by(generator, starts, lambda key: images[int(key)], strength)
        return draw(generator, name, image_guidance=guidance)

    near, far = start(0.25), start(1.0)
    assert near.shape == far.shape and np.abs(near - far).max() > 1
    with pytest.raises(ValueError, match="and the generator draws"):
        guide_by(generator, ["0"], lambda _: images[0][:8], 0.5)


def test_words_are_learned_and_a_killed_run_resumes_bit_for_bit(
    generator: Generator, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    labels = np.array([0, 1, 2] * 2)
    lesson = Lesson(images_of(generator, 6), labels, ("cat", "style", "sea lion"), flip=True)
    for learn, num_words in ((invert_style, 1), (invert_classes, 3)):
        if not FAMILIES[name].has_words:
            with pytest.raises(
                ValueError, match="in which no word can be learned; draw with templ"
            ):
                learn(generator, SETTINGS, lesson)
            continue
        whole = learn(generator, SETTINGS, lesson)
        width = sum(vocabulary.width for vocabulary in generator.vocabularies)
        assert whole.vectors.shape == (num_words, width)
        assert np.isfinite(whole.losses).all()
        checkpoint = Checkpoint(tmp_path / f"{learn.__name__}.safetensors", num_steps=1)
        save = learning._save_run

        def die_after_two(run, path, key, save=save):
            save(run, path, key)
            if run.step == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(learning, "_save_run", die_after_two)
        with pytest.raises(KeyboardInterrupt):
            learn(generator, SETTINGS, lesson, checkpoint)
        monkeypatch.setattr(learning, "_save_run", save)
        resumed = learn(generator, SETTINGS, lesson, checkpoint)
        assert torch.equal(resumed.vectors, whole.vectors) and resumed.losses == whole.losses


def test_oracle_words_need_one_clip(generator: Generator, name: str):
    sentence = "embed a text at a cosine|numbers a word, and the text tower"
    if not FAMILIES[name].has_words:
        sentence = "in which no word can be learned"
    elif len(generator.vocabularies) > 1:
        sentence = r"reads prompts with 2; choose dsi or class_tokens prompts, or a Stable"
    embedded = np.zeros((1, 8), np.float32)
    with pytest.raises(ValueError, match=sentence):
        check_tower(generator, torch.zeros(8, 32), ["a cat"], embedded)
