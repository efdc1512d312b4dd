"""What every generator family gives to sampling, inversion and tuning: the one interface.

A family (a file in `families/`) knows its encoders, its denoiser and its latents, and is read
beside diffusers' pipeline of the same model. Everything else is written once, over this interface.

Letters as in `schedule`: x_t = alpha_t x_0 + sigma_t eps.
"""

import copy
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn.functional import one_hot

from synthbridge.diffusion.memory import (
    MAX_PIXELS_DECODED,
    SPARE,
    at_once,
    decoding_bytes,
    fastest_dtype,
    free_bytes,
)
from synthbridge.diffusion.schedule import Prediction, Step, make_steps
from synthbridge.diffusion.settings import Sampler
from synthbridge.diffusion.text import put_behind_table, word_table

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, PreTrainedModel

# How a prompt is made to count for more: two passes, one with the empty prompt; one pass that is
# told the scale; or not at all (distilled models).
Guidance = Literal["classifier-free", "embedded", "none"]

Tokens = tuple[torch.Tensor, ...]  # of N prompts: token ids (N, L), one tensor a text encoder


@dataclass(frozen=True)
class Condition:
    """Encoded prompts, as the denoiser takes them: a row a prompt in every tensor."""

    sequence: torch.Tensor  # (P, L, D)
    pooled: torch.Tensor | None = None  # (P, D')
    mask: torch.Tensor | None = None  # (P, L) bool, the tokens that count; None = all

    def rows(self, index: torch.Tensor) -> "Condition":
        """Return the prompts of `index` (B,), which lies on the same device."""
        return self._each(lambda tensor: tensor[index])

    def repeated(self, index: torch.Tensor) -> "Condition":
        """Return what `rows` does, with a gradient that is the same at every run."""
        return self._each(lambda tensor: repeat(tensor, index))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Condition":
        pooled, mask = self.pooled, self.mask
        return Condition(
            change(self.sequence),
            None if pooled is None else change(pooled),
            None if mask is None else change(mask),
        )


def repeat(prompts: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return `prompts[index]`, (P, ...) to (B, ...), by a product with zeros and ones.

    Plain indexing is quicker forward, but its gradient adds in an order that threads decide.
    """
    if not prompts.is_floating_point():  # a mask, which has no gradient
        return prompts[index]
    choice = one_hot(index, len(prompts)).to(prompts.dtype)
    return (choice @ prompts.flatten(1)).unflatten(1, prompts.shape[1:])


def join(conditions: Sequence[Condition]) -> Condition:
    """Return the prompts of all `conditions` as one."""

    def cat(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(present) if present else None

    return Condition(
        torch.cat([condition.sequence for condition in conditions]),
        cat([condition.pooled for condition in conditions]),
        cat([condition.mask for condition in conditions]),
    )


@dataclass(frozen=True)
class Vocabulary:
    """A text encoder whose table can hold learned words."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "PreTrainedModel"  # CLIPTextModel, or CLIPTextModelWithProjection
    place: int  # of its ids among the family's `Tokens`

    @property
    def width(self) -> int:
        """Numbers a word."""
        return word_table(self.text_encoder).shape[1]


class Generator(ABC):
    """A text-to-image model: frozen parts, and how they work together."""

    name: str  # what people call the family ("Stable Diffusion")
    prediction: Prediction
    guidance: Guidance
    samplers: tuple[Sampler, ...]  # those that make sense for it, the recommended one first
    num_steps: tuple[int, int] = (1, 999)  # the fewest and the most that make sense
    scheduler_config: dict[str, Any]
    latent_shape: tuple[int, int, int]  # (C, h, w) of one image's latents
    image_size: int  # pixels a side of what it draws
    # What guidance pulls away from: zeros in the place of the encoded empty prompt (SDXL).
    empty_is_zeros: bool = False
    # Where a learned word gets a vector each, one after another in one tensor (D1 + D2 + ...);
    # empty: no word can be learned.
    vocabularies: tuple[Vocabulary, ...] = ()
    # The network that takes every denoising step; its first parameter says device and dtype.
    denoiser: Any  # UNet2DConditionModel, SD3Transformer2DModel, ...
    vae: Any
    text_encoders: tuple[Any, ...]
    # The classes of a transformer's blocks: compiled alone, once for all blocks of a class, where
    # the whole would take longer with each of them. Empty: the denoiser is compiled as a whole.
    repeated_blocks: tuple[str, ...] = ()
    # Where memory is short, text encoders lie on the device while they encode, and the others else.
    takes_turns: bool = False
    _is_encoding: bool = False  # where they take turns

    # --- what a family writes ---------------------------------------------------------------------

    @abstractmethod
    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the ids of prompts; ValueError if one is too long for what must read it whole."""

    @abstractmethod
    def encode(self, tokens: Tokens) -> Condition:
        """Encode prompts, in the denoiser's dtype and on its device.

        Differentiable in the vectors of `learned_words`.
        """

    @abstractmethod
    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor, condition: Condition, scale: float
    ) -> torch.Tensor:
        """Return what the denoiser says of x (B, C, h, w), float32 and of the same shape.

        Args:
            x: latents, float32; the family packs and casts them.
            timesteps: () or (B,), as the schedule lists them (diffusers' scheduler.timesteps).
            condition: a row an image.
            scale: of embedded guidance; other kinds leave it alone.
        """

    @abstractmethod
    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation (B, C, h, w) of the latents of pixels (B, 3, H, W) in -1..1.

        Float32, in the units in which the denoiser works.
        """

    @abstractmethod
    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels (B, 3, H, W), about -1..1, float32."""

    # --- what all have ----------------------------------------------------------------------------

    def steps(
        self, sampler: Sampler, num_steps: int, image_strength: float | None = None
    ) -> list[Step]:
        """List the steps from noise to an image, or the last ones of them: `make_steps`."""
        return make_steps(sampler, num_steps, self.scheduler_config, image_strength)

    @property
    def device(self) -> torch.device:
        """Where the models compute."""
        encoders = self.text_encoders if self._is_encoding else ()
        return next((*encoders, self.denoiser)[0].parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in, by one look; diffusers' own goes through all modules."""
        return next(self.denoiser.parameters()).dtype

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Generator":
        """Move the models, in place, and return self."""
        _move((*self.text_encoders, self.denoiser, self.vae), device, dtype)
        return self

    def to_fastest(self, device: torch.device | str, *, draws_only: bool = False) -> "Generator":
        """Move the models: denoiser and VAE in bfloat16 on a GPU that has it, else in float32.

        Text encoders that can hold learned words stay in float32: they cost next to nothing, and
        a style token's gradient comes through them.

        Args:
            device: where to.
            draws_only: nothing will be learned, so that text encoders and the rest may take turns
                on a GPU that does not hold all at once. The same images come out.
        """
        device = torch.device(device)
        for models in (self.text_encoders, (self.denoiser, self.vae)):
            _move(models, dtype=fastest_dtype(device))
        for vocabulary in self.vocabularies:
            vocabulary.text_encoder.float()
        self.takes_turns = draws_only and not self._fits(device)
        _move((self.denoiser, self.vae), device)
        _move(self.text_encoders, "cpu" if self.takes_turns else device)
        return self

    def _fits(self, device: torch.device) -> bool:
        """Say whether all models fit on the device at once, and the decoding of images with them.

        Elsewhere than on a GPU there is no other place to put them.
        """
        free = free_bytes(device)
        if device.type != "cuda" or free is None:
            return True
        models = (*self.text_encoders, self.denoiser, self.vae)
        weights = sum(value.nbytes for model in models for value in model.state_dict().values())
        count = at_once(MAX_PIXELS_DECODED, self.image_size)
        beside = count * decoding_bytes(self.vae.config, self.image_size, self.dtype)
        return SPARE * (weights + beside) < free

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Have the text encoders on the device, inside; where they take turns, and not the rest."""
        if not self.takes_turns:
            yield
            return
        device, others = self.device, (self.denoiser, self.vae)
        _move(others, "cpu")
        _move(self.text_encoders, device)
        self._is_encoding = True
        try:
            yield
        finally:
            self._is_encoding = False
            _move(self.text_encoders, "cpu")
            _move(others, device)

    def compiled(self) -> "Generator":
        """Return the same models with a denoiser whose operations torch's compiler fuses.

        It compiles when the denoiser first meets a shape, for half a minute or more, and keeps what
        it made on disk. Numbers differ from the plain denoiser's by rounding, and by nothing else:
        no kernel is chosen by timing, so that the same batch gives the same bytes again.

        Raises:
            ValueError: if there is no compiler for what torch's compiler writes.
        """
        _require_compiler()
        fast = copy.copy(self)
        # A shape at a time: code for any batch would hang on which batch it met first.
        how: dict[str, Any] = {"dynamic": False, "options": {"deterministic": True}}
        if not self.repeated_blocks:
            fast.denoiser = torch.compile(self.denoiser, **how)
            return fast
        shared = {id(weights): weights for weights in self.denoiser.parameters()}
        fast.denoiser = copy.deepcopy(self.denoiser, shared)  # the same weights
        for module in fast.denoiser.modules():
            if type(module).__name__ in self.repeated_blocks:
                module.compile(**how)
        return fast

    @contextmanager
    def learned_words(
        self, places: Sequence[torch.Tensor], vectors: torch.Tensor
    ) -> Iterator[None]:
        """Encode, inside, with `vectors` in the place of what the tokens say.

        The vectors enter behind the embedding tables, so that they alone have a gradient and no
        row of a table can move (diffusers issues 507, 1009 and 1176 are that fault).

        Args:
            places: where a learned word stands among the ids that will be encoded, bool (N, L), one
                a vocabulary.
            vectors: one for all rows (D1 + D2 + ...), or one a row (N, 1, D1 + D2 + ...).
        """
        widths = [vocabulary.width for vocabulary in self.vocabularies]
        parts = vectors.split(widths, dim=-1)
        with ExitStack() as stack:
            for vocabulary, is_word, part in zip(self.vocabularies, places, parts, strict=True):
                stack.enter_context(put_behind_table(vocabulary.text_encoder, is_word, part))
            yield


def _move(
    models: Sequence[Any],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    for model in models:
        # diffusers' own method warns for nothing
        torch.nn.Module.to(model, device=device, dtype=dtype)


def _require_compiler() -> None:
    """Refuse to compile where torch would find nothing to do it with."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    if not any(name and shutil.which(name) for name in names):
        raise ValueError(
            "compile is true, but there is no C++ compiler here; install g++, or set it to false"
        )
