"""Operations and memory of the full-size models, counted on tensors that hold no numbers.

Operations are 2 x multiply-accumulate, as torch's counter has them. Memory is the largest sum of
the bytes of all tensors alive at once, the models' own included: what the allocator must hand out
at least, without its rounding and without the work space of the libraries' kernels.

    python benchmarks/counting.py            three minutes, and nothing to download
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import architectures as sd
import measure
import torch
from released import FAMILIES, Family, at_size
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from synthbridge.core.files import write_json
from synthbridge.diffusion.families.flow_matching import TEXTS_PER_PASS
from synthbridge.diffusion.generator import repeat
from synthbridge.diffusion.latents import IMAGES_PER_ENCODING
from synthbridge.diffusion.learning import NUM_EVALUATIONS
from synthbridge.diffusion.lora import Change, attention_projections, beside
from synthbridge.diffusion.memory import (
    MAX_PIXELS_DECODED,
    MAX_PIXELS_DENOISED,
    MAX_PIXELS_ENCODED,
    at_once,
)
from synthbridge.diffusion.sampling import PROMPTS_PER_ENCODING


def count_operations(run: Callable[[], Any]) -> int:
    """Count the operations of `run`."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@dataclass(frozen=True)
class Models:
    """A family's parts, without numbers."""

    family: Family
    parts: Mapping[str, nn.Module]

    @property
    def denoiser(self) -> Any:
        """The UNet or the transformer."""
        return self.parts[self.family.denoiser]

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.parts["vae"]

    def bytes_of(self, names: Sequence[str]) -> int:
        """Sum the bytes of the weights of parts, once where two names share them."""
        return sum(storage.nbytes() for storage in _storages(self.parts[name] for name in names))

    def predict(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Return what the denoiser says, one tensor where it gives a list."""
        said = self.denoiser(**inputs, return_dict=False)[0]
        return torch.stack(said) if isinstance(said, list) else said


def _storages(models: Any) -> list[Any]:
    tensors = (tensor for model in models for tensor in model.state_dict().values())
    return list(
        {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in tensors}.values()
    )


def make_models(family: Family) -> Models:
    """Make a family's parts where and in what torch's defaults say, frozen as the stages' are."""
    parts = {name: part.make().eval().requires_grad_(False) for name, part in family.parts.items()}
    return Models(family, parts)


def _states_of(text_encoder: Any) -> Any:
    """Leave out the head of a language model, which says the next word."""
    return text_encoder.model if hasattr(text_encoder, "lm_head") else text_encoder


@cache  # it takes some seconds
def operations_of(name: str, size: int | None = None) -> dict[str, int]:
    """Count the operations of a family: `denoiser`, of one row, and where a word can be learned
    `denoiser_and_gradient`, of one row and back to its text; `encode` and `decode`, of one image;
    `text`, of one prompt.

    Args:
        name: of the family.
        size: pixels a side; None: as it is released.
    """
    family = FAMILIES[name] if size is None else at_size(FAMILIES[name], size)
    with torch.device("meta"):
        models = make_models(family)
        x, inputs = torch.empty(1, *family.latents), family.inputs(family, 1)
        image = torch.empty(1, 3, family.image_size, family.image_size)
        texts = [torch.zeros(1, length, dtype=torch.int64) for length in family.encoder_length]
    encoders = [_states_of(models.parts[encoder]) for encoder in family.text_encoders]
    with torch.no_grad():
        found = {
            "denoiser": count_operations(lambda: models.predict(inputs)),
            "encode": count_operations(lambda: models.vae.encode(image)),
            "decode": count_operations(lambda: models.vae.decode(x)),
            "text": count_operations(
                lambda: [encoder(ids) for encoder, ids in zip(encoders, texts, strict=True)]
            ),
        }
    if family.learns_words:
        inputs["encoder_hidden_states"].requires_grad_()
        found["denoiser_and_gradient"] = count_operations(
            lambda: models.predict(inputs).sum().backward()
        )
    return found


def operations_of_an_image(name: str) -> int:
    """Count the operations of one image as its release recommends, its prompt left out."""
    family, count = FAMILIES[name], operations_of(name)
    return family.num_steps * family.rows_per_step * count["denoiser"] + count["decode"]


@cache
def operations_before_text() -> int:
    """Count what comes before the first text in Stable Diffusion 1.5's UNet, for one row.

    It is the same for both halves of a guided batch.
    """
    family = FAMILIES["sd-1.5"]
    with torch.device("meta"):
        unet = family.parts["unet"].make()
        x = torch.empty(1, *family.latents)
        time = torch.empty(1, unet.time_embedding.linear_2.out_features)
    block = unet.down_blocks[0]

    def run() -> None:
        hidden = block.resnets[0](unet.conv_in(x), time)
        tokens = block.attentions[0].proj_in(hidden).flatten(2).transpose(1, 2)
        block.attentions[0].transformer_blocks[0].attn1(tokens)

    return count_operations(run)


def operations_of_inversion(
    num_images: int, num_steps: int, batch: int, name: str = "sd-1.5", size: int | None = None
) -> int:
    """Count the operations of learning a style token: encoding, steps, and readings of the loss."""
    count = operations_of(name, size)
    readings = min(num_steps, NUM_EVALUATIONS) + 1
    steps = num_steps * count["denoiser_and_gradient"] + readings * count["denoiser"]
    return num_images * count["encode"] + batch * steps


def operations_of_a_training_image(name: str) -> int:
    """Count the operations of one image's forward and backward pass through a classifier."""
    with torch.device("meta"):
        model = sd.make_classifier(name)
        images = torch.empty(2, 3, sd.CLASSIFIER_SIZE, sd.CLASSIFIER_SIZE)
        labels = torch.zeros(2, dtype=torch.int64)
    return count_operations(lambda: cross_entropy(model(images), labels).backward()) // 2


class LiveBytes(TorchDispatchMode):
    """Follows the bytes of all tensors that are made inside and still alive."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.storages: weakref.WeakSet = weakref.WeakSet()

    def add(self, storage: Any) -> None:
        """Count a storage, unless it is counted: as a view, or what was changed in place."""
        if storage not in self.storages:
            self.storages.add(storage)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage.nbytes())

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and take note of what it made."""
        made = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, lambda tensor: self.add(tensor.untyped_storage()), made)
        return made

    def _forget(self, num_bytes: int) -> None:
        self.live -= num_bytes


@contextmanager
def fake_models(family: Family, dtype: torch.dtype) -> Iterator[Models]:
    """Make a family's parts without numbers, laid out as the stages load them.

    Inside, everything that is made has no numbers either, and `dtype` unless it says otherwise.
    """
    with FakeTensorMode(), sd.default_dtype(dtype):
        models = make_models(family)
        for model in (models.denoiser, models.vae):
            for parameter in model.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.to(memory_format=torch.channels_last)
        yield models


def follow(models: Models) -> LiveBytes:
    """Follow the live bytes from now on, those of all weights included."""
    live = LiveBytes()
    for storage in _storages(models.parts.values()):
        live.add(storage)
    return live


def memory_of_inversion(models: Models, batch: int) -> int:
    """Return the bytes of one step of style inversion: the prediction's error and its gradient.

    As many distinct prompts as rows, which is the most there can be.
    """
    with follow(models) as live:
        inputs = models.family.inputs(models.family, batch)
        text = torch.empty_like(inputs["encoder_hidden_states"], requires_grad=True)
        inputs["encoder_hidden_states"] = repeat(text, torch.zeros(batch, dtype=torch.int64))
        predicted = models.predict(inputs).float()
        mse_loss(predicted, torch.empty_like(predicted)).backward()
    return live.peak


def make_lora(denoiser: Any, rank: int) -> dict[str, Change]:
    """Make A and B of each projection that tuning changes, float32."""

    def matrix(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=torch.float32, requires_grad=True)

    return {
        name: Change(matrix(rank, layer.in_features), matrix(layer.out_features, rank))
        for name, layer in attention_projections(denoiser).items()
    }


def memory_of_tuning(models: Models, batch: int) -> int:
    """Return the bytes of one step of tuning: the prediction's error and the LoRA's gradient."""
    lora = make_lora(models.denoiser, LORA_RANK)
    learned = sum(change.down.nbytes + change.up.nbytes for change in lora.values())
    live = follow(models)
    live.live += 3 * learned  # A and B, and AdamW's two moments of each
    with live, beside(models.denoiser, lora, 1.0):
        predicted = models.predict(models.family.inputs(models.family, batch)).float()
        mse_loss(predicted, torch.empty_like(predicted)).backward()
    return live.peak


@torch.no_grad()
def memory_of_encoding(models: Models, batch: int) -> int:
    """Return the bytes of encoding `batch` images, at most as many at once as the project does."""
    size = models.family.image_size
    count = min(batch, IMAGES_PER_ENCODING, at_once(MAX_PIXELS_ENCODED, size))
    with follow(models) as live:
        models.vae.encode(torch.empty(count, 3, size, size))
    return live.peak


@torch.no_grad()
def memory_of_denoising(models: Models, batch: int) -> int:
    """Return the bytes of one denoising step of `batch` images, with guidance twice the rows."""
    family = models.family
    with follow(models) as live:
        models.predict(family.inputs(family, family.rows_per_step * batch))
    return live.peak


@torch.no_grad()
def memory_of_decoding(models: Models, batch: int) -> int:
    """Return the bytes of decoding `batch` images, at most as many at once as the project does."""
    family = models.family
    with follow(models) as live:
        latents = torch.empty(batch, *family.latents)
        parts = latents.split(at_once(MAX_PIXELS_DECODED, family.image_size))
        _ = torch.cat([_in_bytes(models.vae.decode(part, return_dict=False)[0]) for part in parts])
    return live.peak


def _in_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Make bytes of pixels by way of float32, as the sampler does."""
    return pixels.float().mul(127.5).add_(127.5).clamp_(0, 255).round_().to(torch.uint8)


@torch.no_grad()
def memory_of_prompts(models: Models, batch: int) -> int:
    """Return the bytes of `batch` prompts in one text encoder after another.

    Language models take a few at once, and are asked for the states of all their layers.
    """
    family = models.family
    with follow(models) as live:
        for name, length in zip(family.text_encoders, family.encoder_length, strict=True):
            encoder, is_clip = models.parts[name], length == sd.TEXT_LENGTH
            ids = torch.zeros(batch if is_clip else min(batch, TEXTS_PER_PASS), length)
            _states_of(encoder)(ids.long(), output_hidden_states=True)
    return live.peak


def memory_of_training(name: str, batch: int, dtype: torch.dtype) -> int:
    """Return the bytes of one step of training a classifier: weights in float32, autocast else."""
    with torch.device("meta"):
        model = sd.make_classifier(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        live = LiveBytes()
        for storage in _storages([model]):
            live.add(storage)
        live.live += sum(weights.nbytes for weights in model.parameters())  # their momentum
        with live:
            images = torch.empty(batch, 3, sd.CLASSIFIER_SIZE, sd.CLASSIFIER_SIZE)
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                logits = model(images)
            cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.int64)).backward()
    return live.peak


MEMORY = {
    "encode": memory_of_encoding,
    "invert": memory_of_inversion,
    "denoise": memory_of_denoising,
    "decode": memory_of_decoding,
}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
TRAINING_BATCHES = (64, 256)
INVERSION_BATCH = 4  # of the profile `paper`
LORA_RANK = 16  # DataDream's
TUNING_BATCH = 2  # less the peak of one, it says what each image takes


def gigabytes(num_bytes: int) -> float:
    """Return GB, 10^9 bytes, two digits behind the point."""
    return round(num_bytes / 1e9, 2)


def memory_by_batch(models: Models) -> dict[str, list[float]]:
    """Return the gigabytes of every kind of step at each of BATCHES."""
    return {
        name: [gigabytes(count(models, batch)) for batch in BATCHES]
        for name, count in MEMORY.items()
    }


def memory_of_a_family(models: Models) -> dict[str, Any]:
    """Return gigabytes of weights, and of each step for one image and for as many as are done."""
    family = models.family
    size = family.image_size
    most = {
        "prompts": PROMPTS_PER_ENCODING,
        "denoise": at_once(MAX_PIXELS_DENOISED, size),
        "decode": at_once(MAX_PIXELS_DECODED, size),
        "encode": min(IMAGES_PER_ENCODING, at_once(MAX_PIXELS_ENCODED, size)),
        "tune": TUNING_BATCH,
    }
    counts = {**MEMORY, "prompts": memory_of_prompts, "tune": memory_of_tuning}
    if family.learns_words:
        most["invert"] = INVERSION_BATCH
    return {
        "weights": {
            "denoiser": gigabytes(models.bytes_of([family.denoiser])),
            "vae": gigabytes(models.bytes_of(["vae"])),
            "text": gigabytes(models.bytes_of(family.text_encoders)),
        },
        "at_once": most,
        "peak_of_one": {name: gigabytes(counts[name](models, 1)) for name in most},
        "peak": {name: gigabytes(counts[name](models, batch)) for name, batch in most.items()},
    }


def count_family(name: str) -> dict[str, Any]:
    """Count what docs/planning.md says of a family: weights and activations in bfloat16."""
    family = FAMILIES[name]
    with fake_models(family, torch.bfloat16) as models:
        memory = memory_of_a_family(models)
    return {
        "released": family.released,
        "parameters": {part: of_part.num_parameters for part, of_part in family.parts.items()},
        "operations": operations_of(name),
        "operations_of_an_image": operations_of_an_image(name),
        "num_steps": family.num_steps,
        "rows_per_step": family.rows_per_step,
        "gigabytes": memory,
    }


def family_row(counted: dict[str, Any]) -> str:
    """Return a family's row of the table in docs/planning.md."""
    operations, memory = counted["operations"], counted["gigabytes"]
    weights = memory["weights"]
    beside = max(memory["peak"][step] for step in ("denoise", "decode"))
    tuned_of_one = memory["peak_of_one"]["tune"]
    cells = [
        f"`{counted['released']}`",
        f"{operations['denoiser'] / 1e12:.2f}",
        f"{counted['num_steps']} x {counted['rows_per_step']}",
        f"{operations['decode'] / 1e12:.2f}",
        f"{counted['operations_of_an_image'] / 1e12:.0f}",
        f"{weights['denoiser']:.2f}",
        f"{weights['text']:.2f}",
        f"{weights['vae']:.2f}",
        f"{beside:.1f}",
        f"{beside - weights['text']:.1f}",
        f"{memory['peak']['invert']:.1f}" if "invert" in memory["peak"] else "",
        f"{tuned_of_one:.1f} + {memory['peak']['tune'] - tuned_of_one:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print operations and gigabytes, and save them."""
    found: dict[str, Any] = {"families": {name: count_family(name) for name in FAMILIES}}
    for name, counted in found["families"].items():
        for what, count in counted["operations"].items():
            print(f"{name} {what}: {count / 1e12:.4f} tera-operations")
        print(f"{name}: {counted['gigabytes']}", flush=True)
    before_text = operations_before_text()
    print(f"sd-1.5 before the first text: {before_text / 1e12:.4f} tera-operations")
    training = {name: operations_of_a_training_image(name) for name in sd.CLASSIFIERS}
    by_batch: dict[str, dict[str, list[float]]] = {}
    for dtype in (torch.bfloat16, torch.float32):
        with fake_models(FAMILIES["sd-1.5"], dtype) as models:
            rows = memory_by_batch(models)
        rows |= {
            name: [gigabytes(memory_of_training(name, n, dtype)) for n in TRAINING_BATCHES]
            for name in sd.CLASSIFIERS
        }
        by_batch[str(dtype).removeprefix("torch.")] = rows
    for dtype, rows in by_batch.items():
        for name, row in rows.items():
            batches = TRAINING_BATCHES if name in sd.CLASSIFIERS else BATCHES
            print(f"{dtype} {name}: {row} GB at batches {list(batches)}")
    found |= {
        "operations": {**training, "sd-1.5_before_text": before_text},
        "gigabytes": by_batch,
        "batches": {"stable_diffusion": BATCHES, "training": TRAINING_BATCHES},
    }
    write_json(measure.RESULTS / "counted/full_size.json", found)


if __name__ == "__main__":
    main()
