"""Prompts of learned words, and the seeds that draw an image's prompt and noise."""

import hashlib
from collections.abc import Sequence

from synthbridge.diffusion.settings import PromptKind

# The prompt of dataset style inversion (Bridged, section 4.3).
STYLE_PROMPT = "A {} photo in the style of {}"

# The prompt of a class's own word: the style prompt without its style. Chosen: textual inversion
# (arXiv:2208.01618) puts the learned word where the name stands in templates of this kind.
CLASS_PROMPT = "A {} photo"


def style_prompt(class_name: str, placeholder: str) -> str:
    """Fill the style prompt: `A seven photo in the style of <style>`."""
    return STYLE_PROMPT.format(class_name, placeholder)


def class_prompt(word: str) -> str:
    """Fill the prompt of a class's own word: `A <style-0007> photo`."""
    return CLASS_PROMPT.format(word)


def class_placeholder(placeholder: str, label: int) -> str:
    """Return the placeholder of one class's word: `<style-0007>`, in order of labels if sorted."""
    return f"{placeholder.removesuffix('>')}-{label:04d}>"


def placeholders(kind: PromptKind, placeholder: str, num_classes: int) -> list[str]:
    """List the words that a set of this kind learns: one for all classes, or one a class."""
    if kind == "dsi":
        return [placeholder]
    return [class_placeholder(placeholder, label) for label in range(num_classes)]


def learned_prompts(
    kind: PromptKind, class_names: Sequence[str], words: Sequence[str]
) -> list[str]:
    """Return the one prompt of each class in a set of learned `words`, its `placeholders`."""
    if kind == "dsi":
        return [style_prompt(name, words[0]) for name in class_names]
    return [class_prompt(word) for word in words]


def draw_prompt(candidates: Sequence[str], seed: int) -> str:
    """Return the one of `candidates` that an image's own `seed` draws."""
    # Hashed again, so that the prompt says nothing of the noise that the seed also starts.
    return candidates[_hash_to_int("template", seed) % len(candidates)]


def image_seed(run_seed: int, class_index: int, image_index: int) -> int:
    """Return the seed of one image, below 2^63: the same on every machine, alone or in a batch."""
    return _hash_to_int("image", run_seed, class_index, image_index)


def step_seed(run_seed: int, step: int) -> int:
    """Return the seed of all that one step of style inversion draws, below 2^63."""
    return _hash_to_int("step", run_seed, step)


def _hash_to_int(*parts: str | int) -> int:
    text = " ".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
