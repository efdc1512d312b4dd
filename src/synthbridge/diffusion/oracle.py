"""Oracle prompts: words that say of a class what its real images say (Gap, reconstruction).

Gap conditions prompts on real images, as unCLIP does. Its text does not say how they become a
prompt for Stable Diffusion; this is our reading. The CLIP embeddings of a class's real images are
averaged, and a word is learned for the class such that CLIP embeds `A {word} photo` as near as it
can to that mean: the loss is 1 - cosine. The word starts as the class's name. Then the generator,
whose text encoder is that CLIP's text tower, draws from the prompt.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize

from synthbridge.core.files import hash_value
from synthbridge.diffusion.class_tokens import name_vectors
from synthbridge.diffusion.generator import Generator, Vocabulary
from synthbridge.diffusion.inversion import of_classes
from synthbridge.diffusion.learning import Checkpoint, LearnedWords, Task, learn_words
from synthbridge.diffusion.prompts import class_prompt
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import find_words, require_words
from synthbridge.diffusion.text import encode, tokenize
from synthbridge.diffusion.to_device import send

LEAST_COSINE = 0.99  # of one text in CLIP and in the generator; weights in half precision reach it


class OracleObjective:
    """1 - cosine of the prompts of some classes to the means of their images."""

    def __init__(
        self, generator: Generator, projection: torch.Tensor, targets: torch.Tensor, word: str
    ):
        """Tokenise the prompt once a class, with `word` where the learned word will stand.

        Args:
            generator: its text encoder is the text tower of CLIP.
            projection: from the tower's width to CLIP's space (P, D).
            targets: a unit vector a class (C, P).
            word: one token.
        """
        self.generator = generator
        self.projection = projection.to(generator.device)
        self.targets = targets.to(generator.device)
        self.vocabulary = only_vocabulary(generator)
        tokens = generator.tokenize([class_prompt(word)] * len(targets))
        (self.place,) = find_words(generator, tokens, word)
        self.ids = tokens[self.vocabulary.place]  # (C, L)

    def loss(self, vectors: Sequence[torch.Tensor], classes: torch.Tensor) -> torch.Tensor:
        """Return the mean over `classes` (B,) of 1 - cosine, a scalar on the device."""
        ids = self.ids[classes]
        with self.generator.learned_words([self.place[classes]], of_classes(vectors, classes)):
            text = encode(self.vocabulary.text_encoder, ids)
        embedded = _pool(self.vocabulary, text, ids, self.projection)
        return 1 - (embedded * self.targets[send(classes, embedded.device)]).sum(-1).mean()


def only_vocabulary(generator: Generator) -> Vocabulary:
    """Return what the generator reads prompts with.

    Raises:
        ValueError: if nothing can be learned there, or if it reads them with several.
    """
    require_words(generator)
    if len(generator.vocabularies) != 1:
        raise ValueError(
            f"oracle prompts are learned in one CLIP, and this generator ({generator.name}) reads "
            f"prompts with {len(generator.vocabularies)}; choose dsi or class_tokens prompts, or a "
            "Stable Diffusion 1.x"
        )
    return generator.vocabularies[0]


def _pool(
    vocabulary: Vocabulary, text: torch.Tensor, ids: torch.Tensor, projection: torch.Tensor
) -> torch.Tensor:
    """Embed encoded prompts (N, L, D) in CLIP's space: unit vectors (N, P).

    CLIP reads a text at its end: the first end-of-text token, which also pads.
    """
    end_of_text = vocabulary.tokenizer.eos_token_id
    assert isinstance(end_of_text, int)
    end = torch.eq(ids, end_of_text).int().argmax(1)
    return normalize(text[torch.arange(len(ids)), end] @ projection.T, dim=-1)


def mean_directions(
    embeddings: np.ndarray, labels: Sequence[int] | np.ndarray, num_classes: int
) -> torch.Tensor:
    """Average the unit vectors `embeddings` (N, P) of each class: unit vectors (C, P), float32."""
    labels = np.asarray(labels)
    means = [embeddings[labels == label].mean(0) for label in range(num_classes)]
    return normalize(torch.from_numpy(np.stack(means)).float(), dim=-1)


@torch.inference_mode()
def check_tower(
    generator: Generator, projection: torch.Tensor, texts: Sequence[str], embedded: np.ndarray
) -> None:
    """Refuse a CLIP whose text tower is not the generator's text encoder.

    Args:
        generator: whose text encoder it should be.
        projection: CLIP's, from its text tower's width to its space (P, D).
        texts: a few.
        embedded: unit vectors (N, P), what CLIP says of them.

    Raises:
        ValueError: if widths or embeddings differ.
    """
    way_out = (
        "oracle prompts need the CLIP that the generator reads prompts with; name it below "
        "upstream.clip (for Stable Diffusion 1.5 openai/clip-vit-large-patch14)"
    )
    vocabulary = only_vocabulary(generator)
    width = vocabulary.text_encoder.config.hidden_size
    if projection.shape[1] != width:
        raise ValueError(
            f"the generator's text encoder has {width} numbers a word, and the text tower of CLIP "
            f"{projection.shape[1]}; {way_out}"
        )
    ids = tokenize(vocabulary.tokenizer, texts)
    text = encode(vocabulary.text_encoder, ids)
    own = _pool(vocabulary, text, ids, projection.to(generator.device))
    cosine = (own.float().cpu().numpy() * embedded).sum(1).min()
    if cosine < LEAST_COSINE:
        raise ValueError(
            f"the generator's text encoder and the text tower of CLIP embed a text at a cosine of "
            f"{cosine:.3f}; {way_out}"
        )


def invert_means(
    generator: Generator,
    settings: InversionSettings,
    projection: torch.Tensor,
    targets: torch.Tensor,
    class_names: Sequence[str],
    checkpoint: Checkpoint | None = None,
) -> LearnedWords:
    """Learn a word for every class; the generator is left as it was.

    Args:
        generator: on the device to use; its text encoder is CLIP's text tower (`check_tower`).
        settings: section `invert`; a step takes `batch_size` classes, in turn.
        projection: CLIP's, from its text tower's width to its space (P, D).
        targets: a unit vector a class (C, P).
        class_names: where the words start.
        checkpoint: for a killed run, which resumes bit for bit where it stopped.

    Returns:
        A vector a class. Its `fixed_noise_losses` are of all classes; there is no noise here.

    Raises:
        ValueError: if the initial word is no single token, or the checkpoint of another task.
    """
    objective = OracleObjective(generator, projection, targets, settings.initial_word)
    num_classes = len(class_names)
    batch_size = min(settings.batch_size, num_classes)

    def draw(step: int) -> torch.Tensor:
        if step < 0:
            return torch.arange(num_classes)
        return torch.arange(step * batch_size, (step + 1) * batch_size) % num_classes

    task = Task(
        start=name_vectors(generator, class_names).to(generator.device),
        loss=objective.loss,
        draw=draw,
        key=hash_value([settings.model_dump(), targets.tolist(), list(class_names)]),
    )
    return learn_words(task, settings, checkpoint)
