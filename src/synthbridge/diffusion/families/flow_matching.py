"""What the flow-matching families share (arXiv:2403.03206): their schedule, VAE and long texts.

Beside it: diffusers' FlowMatchEulerDiscreteScheduler. Between the image x_0 and the noise eps lies
x_t = (1 - sigma) x_0 + sigma eps, the denoiser says eps - x_0, and a step goes down that line.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthbridge.data.distillation import Distillation
from synthbridge.diffusion.generator import Generator, Tokens
from synthbridge.diffusion.schedule import Step, flow_steps
from synthbridge.diffusion.settings import Sampler, count_steps
from synthbridge.diffusion.text import require_whole

QWEN_TOKENS = 512  # that a prompt is padded to, its chat template included
TEXTS_PER_PASS = 16  # prompts of hundreds of tokens in a language model at once


@dataclass(frozen=True)
class Spread:
    """How a family lays its steps between noise and image, for diffusers' `set_timesteps`."""

    sigmas: list[float] | None  # before any shift; None: the scheduler's own
    mu: float  # how far they are shifted, where the configuration asks for `use_dynamic_shifting`


class FlowMatching(Generator):
    """A family that predicts the flow and samples by Euler steps."""

    prediction = "flow"
    samplers = ("euler",)

    @abstractmethod
    def spread(self, num_steps: int) -> Spread:
        """Return how so many steps are laid between noise and image."""

    def steps(
        self, sampler: Sampler, num_steps: int, image_strength: float | None = None
    ) -> list[Step]:
        """List Euler's steps, at the sigmas of diffusers' scheduler of this configuration."""
        assert sampler == "euler"
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
            FlowMatchEulerDiscreteScheduler,
        )

        scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(self.scheduler_config)
        spread = self.spread(num_steps)
        scheduler.set_timesteps(num_steps, sigmas=spread.sigmas, mu=spread.mu)
        steps = flow_steps(scheduler.sigmas.tolist(), scheduler.timesteps.tolist())
        return steps[num_steps - count_steps(num_steps, image_strength) :]

    def become(self, distillation: Distillation | None) -> None:
        """Take the name, the guidance and the steps of a distilled model, if it is one."""
        if distillation:
            self.name, self.guidance = distillation.name, distillation.guidance
            self.num_steps = distillation.num_steps

    @property
    def num_tokens(self) -> int:
        """Tokens of one image: 2 x 2 latents each."""
        return self.latent_shape[1] * self.latent_shape[2] // 4

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the VAE's posterior, shifted and scaled."""
        posterior = self.vae.encode(pixels.to(self.vae.dtype), return_dict=False)[0]
        shift, unit = _unit_of(self.vae)
        return (posterior.mean.float() - shift) * unit, posterior.std.float() * unit

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels."""
        shift, unit = _unit_of(self.vae)
        latents = (latents / unit + shift).to(self.vae.dtype)
        return self.vae.decode(latents, return_dict=False)[0].float()


def _unit_of(vae: Any) -> tuple[float, float]:
    """Return what is taken from a VAE's latents, and what they are then multiplied by."""
    return vae.config.get("shift_factor") or 0.0, vae.config["scaling_factor"]


def even_sigmas(num_steps: int) -> list[float]:
    """Return sigma at each step before any shift: evenly from 1 to 1 / `num_steps`."""
    return torch.linspace(1, 1 / num_steps, num_steps, dtype=torch.float64).tolist()


def linear_mu(num_tokens: int, scheduler_config: dict[str, Any], max_shift: float = 1.15) -> float:
    """Return how far a schedule is shifted for an image of so many tokens: a line in them.

    Args:
        num_tokens: of one image.
        scheduler_config: gives two points of the line, or the usual ones.
        max_shift: of the second point where the configuration names none.
    """
    first = scheduler_config.get("base_image_seq_len", 256)
    last = scheduler_config.get("max_image_seq_len", 4096)
    low = scheduler_config.get("base_shift", 0.5)
    high = scheduler_config.get("max_shift", max_shift)
    slope = (high - low) / (last - first)
    return num_tokens * slope + low - slope * first


def image_side(vae: Any) -> tuple[int, int]:
    """Return pixels a side of an image, and latents a side, as the VAE's configuration has them.

    Every block of the VAE but the last halves.
    """
    pixels = vae.config["sample_size"]
    return pixels, pixels // 2 ** (len(vae.config["block_out_channels"]) - 1)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Turn latents (B, C, h, w) into tokens of 2 x 2 latents (B, h/2 w/2, 4 C), channels first."""
    return nn.functional.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpack(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Turn tokens (B, h/2 w/2, 4 C) into latents (B, C, h, w), of `side` h = w."""
    square = tokens.transpose(1, 2).unflatten(2, (side // 2, side // 2))
    return nn.functional.pixel_shuffle(square, 2)


def in_passes(encode: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
    """Encode prompts, rows of `tensors`, a few at once."""
    parts = zip(*(tensor.split(TEXTS_PER_PASS) for tensor in tensors), strict=True)
    return torch.cat([encode(*part) for part in parts])


def chat(tokenizer: Any, prompts: Sequence[str], *, thinks: bool) -> list[str]:
    """Return each prompt as a user's message that Qwen3 is about to answer, by its own template."""
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinks,
        )
        for prompt in prompts
    ]


def load_large_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a language model as tokenizer.json has it: no sentencepiece."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def load_qwen_reader(folder: Path, *, thinks: bool) -> Callable[[Sequence[str]], Tokens]:
    """Load Qwen's tokenizer: prompts become token ids and which of them count, each (N, 512).

    Args:
        folder: of the tokenizer.
        thinks: leave room for a thought in the answer that the prompt seems to ask for.
    """
    tokenizer = load_large_tokenizer(folder)

    def read(prompts: Sequence[str]) -> Tokens:
        texts = chat(tokenizer, prompts, thinks=thinks)
        out = tokenizer(texts, padding="max_length", max_length=QWEN_TOKENS)
        for prompt, row in zip(prompts, out["input_ids"], strict=True):
            require_whole(prompt, len(row), QWEN_TOKENS)
        return torch.tensor(out["input_ids"]), torch.tensor(out["attention_mask"])

    return read
