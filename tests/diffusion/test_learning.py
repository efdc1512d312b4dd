"""Learning words: any loss is descended, and a checkpoint goes to the task that wrote it."""

from pathlib import Path

import pytest
import torch

from synthbridge.diffusion import learning
from synthbridge.diffusion.learning import Checkpoint, LearnedWords, Task, learn_words
from synthbridge.diffusion.settings import InversionSettings

SETTINGS = InversionSettings(
    placeholder="<style>",
    initial_word="style",
    num_steps=200,
    batch_size=1,
    learning_rate=0.1,
    samples_per_class=1,
    seed=0,
)
TARGETS = torch.tensor([[1.0, -1.0], [0.5, 0.0], [9.0, 9.0]])


def learn(
    checkpoint: Checkpoint | None = None, key: str = "key", die_at: int | None = None
) -> LearnedWords:
    """Draw the first two of three words towards their targets, in turn."""

    def draw(step: int) -> int:
        if step == die_at:
            raise KeyboardInterrupt
        return step % 2

    def loss(vectors, word: int) -> torch.Tensor:
        return (vectors[word] - TARGETS[word]).square().sum()

    task = Task(start=torch.zeros(3, 2), loss=loss, draw=draw, key=key)
    return learn_words(task, SETTINGS, checkpoint)


def test_words_go_where_the_loss_falls_and_others_stay():
    learned = learn()
    torch.testing.assert_close(learned.vectors[:2], TARGETS[:2], atol=0.1, rtol=0)
    assert not learned.vectors[2].any()
    assert len(learned.losses) == 200 and learned.losses[-2] < learned.losses[0]
    assert list(learned.fixed_noise_losses) == list(range(0, 201, 20))


def test_a_killed_run_resumes_at_its_last_checkpoint(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "words", num_steps=8)
    with pytest.raises(KeyboardInterrupt):
        learn(checkpoint, die_at=21)
    with pytest.raises(KeyboardInterrupt):
        learn(checkpoint, die_at=16)  # the first step that the checkpoint lacks
    resumed, whole = learn(checkpoint, die_at=15), learn()
    assert torch.equal(resumed.vectors, whole.vectors)
    assert resumed.losses == whole.losses
    assert resumed.fixed_noise_losses == whole.fixed_noise_losses


def test_a_checkpoint_serves_no_task_of_another_key(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "words", num_steps=8)
    learn(checkpoint)
    with pytest.raises(ValueError, match="is a checkpoint of another style inversion"):
        learn(checkpoint, key="other")


def test_the_mean_loss_since_the_last_checkpoint_is_told(tmp_path: Path, monkeypatch):
    heard = []
    monkeypatch.setattr(learning, "measure", lambda step, loss: heard.append((step, loss)))
    learned = learn(Checkpoint(tmp_path / "a", num_steps=80))
    means = [sum(learned.losses[start : start + 80]) / 80 for start in (0, 80)]
    assert [step for step, _ in heard] == [80, 160]
    assert [loss for _, loss in heard] == pytest.approx(means, rel=1e-5)
