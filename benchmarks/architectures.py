"""Generators and the paper's classifiers with random weights, in the layouts that stages read.

`write_generator` leaves diffusers' layout of a family (`released.py`), `write_backbone` timm's of a
classifier at full size; nothing is downloaded.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import measure  # noqa: F401  (puts the package on the path)
import torch
from released import Family
from torch import nn

from synthbridge.core.files import write_json, write_text

# timm's names, and the parameters of each with ImageNet's 1,000 classes.
CLASSIFIERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "vit_base_patch16_224": 86_567_656,
    "vit_large_patch16_224": 304_326_632,
}
CLASSIFIER_SIZE = 224  # pixels a side

NUM_WORDS, TEXT_LENGTH = 49_408, 77  # of CLIP's text towers
INITIAL_WORD = "style"  # one token, as in CLIP's own vocabulary


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make what is made inside in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_classifier(name: str, num_classes: int = 1000) -> nn.Module:
    """Make a classifier of `CLASSIFIERS`."""
    import timm

    return timm.create_model(name, num_classes=num_classes)


def count_parameters(model: nn.Module) -> int:
    """Count a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def write_generator(folder: Path, family: Family, dtype: torch.dtype = torch.float32) -> None:
    """Write a family in diffusers' layout with random weights, part by part."""
    import diffusers

    for number, (name, part) in enumerate(family.parts.items()):
        torch.manual_seed(number)
        with default_dtype(dtype):
            model = part.make()
        assert count_parameters(model) == part.num_parameters, f"{name}: {count_parameters(model)}"
        model.save_pretrained(folder / name)
        del model  # before the next one
    scheduler = getattr(diffusers, family.scheduler)
    scheduler(**family.scheduler_config).save_pretrained(folder / "scheduler")
    kinds = {}
    for encoder in family.text_encoders:
        tokenizer = encoder.replace("text_encoder", "tokenizer")
        write, kinds[tokenizer] = TOKENIZERS[family.parts[encoder].name]
        write(folder / tokenizer, is_second=tokenizer == "tokenizer_2")
    write_json(
        folder / "model_index.json",
        {
            "_class_name": family.pipeline,
            "scheduler": ["diffusers", family.scheduler],
            **{name: [part.module.split(".")[0], part.name] for name, part in family.parts.items()},
            **{tokenizer: ["transformers", kind] for tokenizer, kind in kinds.items()},
            **family.index,
        },
    )


def write_clip_tokenizer(folder: Path, *, is_second: bool) -> None:
    """Write a CLIP tokenizer of 49,408 words that spells all but `INITIAL_WORD` in letters.

    The second one of a family pads with an exclamation mark, the first with the end of the text.
    """
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # the 256 bytes, as printable characters
    pieces = [*INITIAL_WORD[:-1], f"{INITIAL_WORD[-1]}</w>"]
    merges = [("".join(pieces[:end]), pieces[end]) for end in range(1, len(pieces))]
    words = letters + [f"{letter}</w>" for letter in letters] + ["".join(pair) for pair in merges]
    words += [f"unused{number}</w>" for number in range(len(words), NUM_WORDS - 2)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    write_text(folder / "vocab.json", json.dumps({word: i for i, word in enumerate(words)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_LENGTH}
    padding = {"pad_token": "!"} if is_second else {}
    write_json(folder / "tokenizer_config.json", facts | padding)


def write_t5_tokenizer(folder: Path, *, is_second: bool) -> None:
    """Write a T5 tokenizer that spells in letters; T5's own has 32,100 words."""
    from transformers import T5Tokenizer

    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    tokenizer = T5Tokenizer(vocab=[*pieces, *((letter, -9.0) for letter in letters)], extra_ids=2)
    tokenizer.save_pretrained(folder)


def write_qwen_tokenizer(folder: Path, *, is_second: bool) -> None:
    """Write a Qwen tokenizer of bytes, with a chat template of one message."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<|endoftext|>": 0, **{letter: place for place, letter in enumerate(letters, 1)}}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], eos_token="<|im_end|>")
    tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
    tokenizer.chat_template = (
        "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)


# By the text encoder's class: what writes its tokenizer, and what diffusers loads it as.
TOKENIZERS: dict[str, tuple[Callable[..., None], str]] = {
    "CLIPTextModel": (write_clip_tokenizer, "CLIPTokenizer"),
    "CLIPTextModelWithProjection": (write_clip_tokenizer, "CLIPTokenizer"),
    "T5EncoderModel": (write_t5_tokenizer, "T5TokenizerFast"),
    "Qwen3ForCausalLM": (write_qwen_tokenizer, "Qwen2TokenizerFast"),
}


def write_backbone(name: str, folder: Path) -> None:
    """Write a classifier of ImageNet's classes in the layout of timm's hub."""
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = make_classifier(name)
    assert count_parameters(model) == CLASSIFIERS[name], f"{name}: {count_parameters(model)}"
    save_for_hf(model, str(folder), safe_serialization=True)
