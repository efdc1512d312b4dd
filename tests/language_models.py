"""Tiny language models: one with random weights, one that has learned a few lines by heart."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from synthbridge.prompts.writing import read_instruction

END = "<|end|>"
COUNT = 4  # lines that the taught model was asked for
TAUGHT = {
    "cat": [
        "a cat sleeping on a sofa in warm lamp light",
        "2. a black cat sitting in the window, seen from the street",
        "a dog running in the park",  # names another class
        "a cat walking through fresh snow at dawn",
        "a cat under a kitchen table, seen from above",
    ],
    "dog": [
        "Sure, here are the captions of a dog:",
        "a dog running in the park on a bright day",
        "a wet dog shaking itself by a lake",
        "a dog lying at the door of an old house",
        "a dog with a stick in its mouth, in close-up",
    ],
}


def _told(name: str) -> str:
    text = read_instruction("contextual").replace("{class}", name)
    return text.replace("{count}", str(COUNT))


def _train_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [text for name, lines in TAUGHT.items() for text in (_told(name), *lines)]
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def _make_model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=640,
        n_embd=64,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return GPT2LMHeadModel(config)


def _save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_random(folder: Path) -> Path:
    """Save a language model that has learned nothing."""
    tokenizer = _train_tokenizer()
    return _save(_make_model(tokenizer), tokenizer, folder)


def make_taught(folder: Path) -> Path:
    """Save a language model that knows what to write of a cat and of a dog, good lines and bad."""
    torch.set_num_threads(1)
    tokenizer = _train_tokenizer()
    model = _make_model(tokenizer)
    texts = [_told(name) + "\n".join(lines) + END for name, lines in TAUGHT.items()]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (longest - len(row)) for row in rows])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
    return _save(model, tokenizer, folder)
