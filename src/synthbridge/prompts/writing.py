"""Writing: a local language model writes prompts, and what is no usable line is kept out, counted.

The instructions lie beside this as text. Weights are read from safetensors alone, and nothing of
the model's folder runs as code.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from synthbridge.core.files import hash_value
from synthbridge.prompts.line_check import RULES, clean_line, find_fault

TOKENS_PER_LINE = 48  # which the model may write; a caption of 30 words takes about 40
TOP_P, TEMPERATURE = 0.95, 0.9  # chosen: nucleus sampling (arXiv:1904.09751)
NUM_ROUNDS = 4  # times that a class is asked for


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model on its device, and its tokenizer."""

    model: Any
    tokenizer: Any


@dataclass(frozen=True)
class Lines:
    """The lines kept for one class, and how many were refused for what."""

    kept: list[str]
    refused: Counter[str]


def load_language_model(folder: Path, device: torch.device) -> LanguageModel:
    """Load a transformers folder.

    Raises:
        ValueError: if it holds no causal language model in safetensors, or needs code of its own.
    """
    weights = ("model.safetensors", "model.safetensors.index.json")
    if not any((folder / name).is_file() for name in weights):
        raise ValueError(
            f"{folder} holds no language model in safetensors (model.safetensors); name a "
            "transformers folder that does"
        )
    logging.disable_progress_bar()
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} is no language model that transformers loads without running its code "
            f"({' '.join(str(error).split())}); take another"
        ) from None
    return LanguageModel(
        model.to(device).eval(),  # pyright: ignore[reportArgumentType]
        tokenizer,
    )


def read_instruction(kind: str) -> str:
    """Read the instruction for a kind of RULES; {class} and {count} are still to be filled."""
    path = Path(__file__).parent / "instructions" / f"{kind}.txt"
    return path.read_text(encoding="utf-8")


def write_lines(
    writer: LanguageModel, kind: str, class_name: str, *, count: int, seed: int
) -> Lines:
    """Let the model write until `count` lines of a class are good, in four rounds at most.

    Each round draws from a seed of its own, made of `seed`, the class and the round: a class's
    lines are the same whichever others are asked for.
    """
    instruction = read_instruction(kind).replace("{class}", class_name)
    instruction = instruction.replace("{count}", str(count))
    kept: list[str] = []
    refused: Counter[str] = Counter()
    for number in range(NUM_ROUNDS):
        round_seed = int(hash_value([seed, kind, class_name, number])[:15], 16)
        text = _generate(writer, instruction, count * TOKENS_PER_LINE, round_seed)
        for line in filter(None, map(clean_line, text.splitlines())):
            fault = find_fault(
                line, class_name, rules=RULES[kind], instruction=instruction, kept=kept
            )
            if fault:
                refused[fault] += 1
            elif len(kept) < count:
                kept.append(line)
        if len(kept) == count:
            break
    return Lines(kept, refused)


@torch.inference_mode()
def _generate(writer: LanguageModel, instruction: str, most_tokens: int, seed: int) -> str:
    """Return what the model writes after an instruction: sampled, the same for the same seed.

    Raises:
        ValueError: if the instruction leaves no room in what the model can read.
    """
    ids = _encode(writer, instruction).to(writer.model.device)  # (1, L)
    limit = getattr(writer.model.config, "max_position_embeddings", None)
    room = most_tokens if limit is None else min(most_tokens, limit - ids.shape[1])
    if room < TOKENS_PER_LINE:
        raise ValueError(
            f"the language model reads {limit} tokens, and the instruction alone takes "
            f"{ids.shape[1]}; take a model that reads more"
        )
    end = writer.tokenizer.eos_token_id
    pad = writer.tokenizer.pad_token_id
    devices = [ids.device] if ids.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)  # transformers samples from the global generator
        written = writer.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_p=TOP_P,
            top_k=0,  # of all words; transformers would keep fifty
            temperature=TEMPERATURE,
            max_new_tokens=room,
            pad_token_id=end if pad is None else pad,
        )
    return writer.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def _encode(writer: LanguageModel, instruction: str) -> torch.Tensor:
    """Return the instruction's token ids (1, L), as a chat's first turn where the model chats."""
    if not writer.tokenizer.chat_template:
        return writer.tokenizer(instruction, return_tensors="pt")["input_ids"]
    turn = [{"role": "user", "content": instruction}]
    text = writer.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    # The template writes the special tokens itself.
    return writer.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
