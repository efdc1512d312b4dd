"""Class-wise textual inversion (arXiv:2208.01618): one word a class, the control for one style.

A class's word stands where its name stood, starts as the name, and learns by eq. 2 of Bridged from
the class's own images. The budget is the style token's: a step draws the classes, images, times
and noise that dataset style inversion draws, and moves the words of the classes it drew alone. So
all words together see as many images in as many gradient steps as the one style token does; of C
classes each word sees the C-th part. Batches, optimiser and rate are the style token's too.

Chosen: textual inversion starts at one coarse word for the object. Here it is the class's name,
the mean of its tokens where it has several.
"""

from collections.abc import Sequence

import torch

from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.inversion import DenoisingObjective, Lesson, invert
from synthbridge.diffusion.learning import Checkpoint, LearnedWords
from synthbridge.diffusion.prompts import class_prompt
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import require_words
from synthbridge.diffusion.text import word_table


def name_vectors(generator: Generator, class_names: Sequence[str]) -> torch.Tensor:
    """Return the mean embedding of each name's tokens (C, D1 + D2 + ...), float32."""
    means = []
    for vocabulary in generator.vocabularies:
        table = word_table(vocabulary.text_encoder).detach()
        ids = vocabulary.tokenizer(list(class_names), add_special_tokens=False)["input_ids"]
        means.append(torch.stack([table[tokens].float().mean(0) for tokens in ids]))
    return torch.cat(means, dim=-1)


def invert_classes(
    generator: Generator,
    settings: InversionSettings,
    lesson: Lesson,
    checkpoint: Checkpoint | None = None,
) -> LearnedWords:
    """Learn a word for every class; arguments and errors as `invert_style`.

    Returns:
        A vector a class.
    """
    require_words(generator)
    word = settings.initial_word  # holds the learned word's place in the token ids, no more
    prompts = [class_prompt(word)] * len(lesson.class_names)
    objective = DenoisingObjective(generator, prompts, word)
    start = name_vectors(generator, lesson.class_names)
    return invert(objective, start, settings, lesson, checkpoint)
