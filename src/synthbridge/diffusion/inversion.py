"""Dataset style inversion (Bridged, section 4.3): one word is learned for a whole data set's style.

Only the word's vector S* is a parameter. Of eq. 2, min over S* of E |eps - eps_theta(x_t, t, c)|^2
with c the text `A {class} photo in the style of S*`, each step takes a batch: per element a class,
one of its images, a timestep and a noise. Optimiser, rate and start are chosen, see the settings.
A generator that predicts v or the flow is trained against these in the place of eps; one with two
text encoders gets a vector for each.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import mse_loss

from synthbridge.core.files import hash_value
from synthbridge.diffusion.generator import Condition, Generator
from synthbridge.diffusion.latents import ClassBalance, Draw, cache_latents, draw_batch
from synthbridge.diffusion.learning import Checkpoint, LearnedWords, Task, learn_words
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.schedule import Levels, training_levels, training_target
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import find_initial_tokens, find_words, require_words
from synthbridge.diffusion.text import word_table
from synthbridge.diffusion.to_device import send


@dataclass(frozen=True)
class Lesson:
    """The real images that words are learned from."""

    images: np.ndarray  # uint8 (N, H, W, 3), of the size that the generator draws
    labels: Sequence[int] | np.ndarray  # (N,) the class index of each image
    class_names: Sequence[str]  # as the prompts name them
    flip: bool  # learn from the mirror images too


class DenoisingObjective:
    """Eq. 2 for one batch: the prediction's error as a function of the learned words."""

    def __init__(self, generator: Generator, prompts: Sequence[str], word: str):
        """Tokenise a prompt a class, with `word` where the learned word will stand."""
        self.generator = generator
        self.tokens = generator.tokenize(prompts)  # each (C, L)
        self.places = find_words(generator, self.tokens, word)
        self.levels = training_levels(generator.scheduler_config)

    def loss(self, vectors: Sequence[torch.Tensor], draw: Draw) -> torch.Tensor:
        """Return the mean squared error of the prediction, a scalar on the device.

        Args:
            vectors: one for all classes, or one a class; each (D1 + D2 + ...).
            draw: the batch.
        """
        generator = self.generator
        classes, index = draw.classes.unique(return_inverse=True)  # each prompt encoded once
        places = [place[classes] for place in self.places]
        with generator.learned_words(places, of_classes(vectors, classes)):
            condition = generator.encode(tuple(ids[classes] for ids in self.tokens))
        rows = condition.repeated(send(index, generator.device))
        return prediction_error(generator, self.levels, rows, draw)


def prediction_error(
    generator: Generator, levels: Levels, condition: Condition, draw: Draw
) -> torch.Tensor:
    """Return the mean squared error of what the denoiser says of a batch, on the device.

    Args:
        generator: its kind of prediction says what it should be.
        levels: of `draw.timesteps`.
        condition: a row an image.
        draw: the batch.
    """
    device = generator.device
    alpha = levels.alphas[draw.timesteps][:, None, None, None]
    sigma = levels.sigmas[draw.timesteps][:, None, None, None]
    noisy = alpha * draw.latents + sigma * draw.noise
    target = training_target(generator.prediction, draw.latents, draw.noise, alpha, sigma)
    timesteps = send(levels.timesteps[draw.timesteps], device)
    predicted = generator.predict(send(noisy, device), timesteps, condition, scale=1.0)
    return mse_loss(predicted, send(target, device))


def of_classes(vectors: Sequence[torch.Tensor], classes: torch.Tensor) -> torch.Tensor:
    """Return the vector of each of `classes` (N,): (N, 1, D), or (D,) where all share one."""
    if len(vectors) == 1:
        return vectors[0]
    return torch.stack([vectors[label] for label in classes.tolist()])[:, None]


def style_objective(
    generator: Generator, class_names: Sequence[str], initial_word: str
) -> DenoisingObjective:
    """Make the objective of dataset style inversion: the style prompt of every class."""
    prompts = [style_prompt(name, initial_word) for name in class_names]
    return DenoisingObjective(generator, prompts, initial_word)


def initial_vector(generator: Generator, initial_word: str) -> torch.Tensor:
    """Return the initial word's embedding (D1 + D2 + ...), a float32 copy."""
    ids = find_initial_tokens(generator, initial_word)
    rows = [word_table(v.text_encoder)[i] for v, i in zip(generator.vocabularies, ids, strict=True)]
    return torch.cat([row.detach().float() for row in rows])


def invert_style(
    generator: Generator,
    settings: InversionSettings,
    lesson: Lesson,
    checkpoint: Checkpoint | None = None,
) -> LearnedWords:
    """Learn the style token of a data set; the generator is left as it was.

    Args:
        generator: the frozen model, on the device to use.
        settings: section `invert`.
        lesson: the images to learn from.
        checkpoint: for a killed run, which resumes bit for bit where it stopped.

    Returns:
        One vector.

    Raises:
        ValueError: if the generator can learn no word, the initial word is no single token, a class
            without images, the images of another size, or the checkpoint of another task.
    """
    require_words(generator)
    objective = style_objective(generator, lesson.class_names, settings.initial_word)
    start = initial_vector(generator, settings.initial_word)[None]
    return invert(objective, start, settings, lesson, checkpoint)


def invert(
    objective: DenoisingObjective,
    start: torch.Tensor,
    settings: InversionSettings,
    lesson: Lesson,
    checkpoint: Checkpoint | None,
) -> LearnedWords:
    """Learn the words of `objective` from `start` (V, D); all else as `invert_style`."""
    balance = ClassBalance(lesson.labels, lesson.class_names)
    cache = cache_latents(objective.generator, lesson.images, flip=lesson.flip)

    def draw(step: int) -> Draw:
        return draw_batch(
            cache=cache,
            balance=balance,
            batch_size=settings.batch_size,
            num_timesteps=len(objective.levels.timesteps),
            seed=settings.seed,
            step=step,
        )

    task = Task(
        start=start.to(objective.generator.device),
        loss=objective.loss,
        draw=draw,
        key=_hash_task(objective, settings, lesson),
    )
    return learn_words(task, settings, checkpoint)


def _hash_task(objective: DenoisingObjective, settings: InversionSettings, lesson: Lesson) -> str:
    """Name a task by all that goes into it, so that it resumes from its own checkpoint only."""
    pixels = hashlib.sha256(np.ascontiguousarray(lesson.images).data).hexdigest()
    labels = np.asarray(lesson.labels).tolist()
    ids = [tokens.tolist() for tokens in objective.tokens]
    return hash_value([settings.model_dump(), pixels, labels, ids, lesson.flip])
