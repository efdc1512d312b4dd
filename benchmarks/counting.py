"""Operations and memory of the full-size models, counted on tensors that hold no numbers.

Operations are 2 x multiply-accumulate, as torch's counter has them. Memory is the largest sum of
the bytes of all tensors alive at once, the models' own included: what the allocator must hand out
at least, without its rounding and without the work space of the libraries' kernels.

    python benchmarks/counting.py            a minute, and nothing to download
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import architectures as sd
import measure
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from synthbridge.core.files import write_json
from synthbridge.diffusion.inversion import repeat
from synthbridge.diffusion.latents import IMAGES_PER_ENCODING
from synthbridge.diffusion.learning import NUM_EVALUATIONS
from synthbridge.diffusion.loading import TextToImage
from synthbridge.diffusion.sampling import decode


def count_operations(run: Callable[[], Any]) -> int:
    """Count the operations of `run`."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@cache  # it takes a second or two
def operations_of_stable_diffusion() -> dict[str, int]:
    """Count the operations of one row of the UNet (forward, its part before the first text, and
    with the gradient of the text), of encoding and decoding one image, and of one prompt.
    """
    with torch.device("meta"):
        unet, vae, text_encoder = sd.make_unet(), sd.make_vae(), sd.make_text_encoder()
        x, timestep = torch.empty(1, 4, sd.LATENT_SIZE, sd.LATENT_SIZE), torch.empty(1)
        text = torch.empty(1, sd.TEXT_LENGTH, sd.TEXT_WIDTH)
        image = torch.empty(1, 3, sd.IMAGE_SIZE, sd.IMAGE_SIZE)
        ids = torch.zeros(1, sd.TEXT_LENGTH, dtype=torch.int64)
    for model in (unet, vae, text_encoder):
        model.eval().requires_grad_(False)
    text_to_learn = text.clone().requires_grad_()
    runs: dict[str, Callable[[], Any]] = {
        "unet": lambda: unet(x, timestep, text),
        "unet_before_text": lambda: run_before_text(unet, x),
        "unet_and_gradient": lambda: unet(x, timestep, text_to_learn).sample.sum().backward(),
        "encode": lambda: vae.encode(image),
        "decode": lambda: vae.decode(x),
        "text": lambda: text_encoder(ids),
    }
    return {name: count_operations(run) for name, run in runs.items()}


def run_before_text(unet: Any, x: torch.Tensor) -> None:
    """Run what comes before the first text: the same for both halves of a guided batch."""
    block = unet.down_blocks[0]
    time = torch.empty(1, unet.time_embedding.linear_2.out_features, device=x.device)
    hidden = block.resnets[0](unet.conv_in(x), time)
    tokens = block.attentions[0].proj_in(hidden).flatten(2).transpose(1, 2)
    block.attentions[0].transformer_blocks[0].attn1(tokens)


def operations_of_inversion(num_images: int, num_steps: int, batch: int) -> int:
    """Count the operations of learning a style token: encoding, steps, and readings of the loss."""
    count = operations_of_stable_diffusion()
    readings = min(num_steps, NUM_EVALUATIONS) + 1
    steps = num_steps * count["unet_and_gradient"] + readings * count["unet"]
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

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and take note of what it made."""
        made = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._follow, made)
        return made

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self.storages:  # else a view, or what an operation changed in place
            self.storages.add(storage)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, num_bytes: int) -> None:
        self.live -= num_bytes


@contextmanager
def fake_generator(dtype: torch.dtype) -> Iterator[TextToImage]:
    """Make Stable Diffusion without numbers, laid out as the stages load it.

    Inside, everything that is made has no numbers either, and `dtype` unless it says otherwise.
    """
    with FakeTensorMode(), sd.default_dtype(dtype):
        models = sd.make_text_encoder(), sd.make_unet(), sd.make_vae()
        for model in models:
            model.eval().requires_grad_(False)
            for parameter in model.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.to(memory_format=torch.channels_last)
        yield TextToImage(None, *models, {})  # type: ignore[arg-type]  (no text is read)


def follow(generator: TextToImage) -> LiveBytes:
    """Follow the live bytes from now on, those of the generator's weights included."""
    live = LiveBytes()
    models = (generator.text_encoder, generator.unet, generator.vae)
    live.live = live.peak = sum(
        weights.nbytes for model in models for weights in model.state_dict().values()
    )
    return live


def memory_of_inversion(generator: TextToImage, batch: int) -> int:
    """Return the bytes of one step of style inversion: the noise's error and its gradient.

    As many distinct prompts as rows, which is the most there can be.
    """
    with follow(generator) as live:
        x = torch.empty(batch, 4, sd.LATENT_SIZE, sd.LATENT_SIZE)
        text = torch.empty(batch, sd.TEXT_LENGTH, sd.TEXT_WIDTH, requires_grad=True)
        rows = repeat(text, torch.zeros(batch, dtype=torch.int64))
        predicted = generator.unet(x, torch.zeros(batch), rows, return_dict=False)[0]
        mse_loss(predicted.float(), torch.empty_like(x, dtype=torch.float32)).backward()
    return live.peak


@torch.no_grad()
def memory_of_encoding(generator: TextToImage, batch: int) -> int:
    """Return the bytes of encoding `batch` images, at most as many at once as the project does."""
    with follow(generator) as live:
        images = torch.empty(min(batch, IMAGES_PER_ENCODING), 3, sd.IMAGE_SIZE, sd.IMAGE_SIZE)
        generator.vae.encode(images)
    return live.peak


@torch.no_grad()
def memory_of_denoising(generator: TextToImage, batch: int) -> int:
    """Return the bytes of one guided denoising step of `batch` images, twice as many rows."""
    with follow(generator) as live:
        x = torch.empty(2 * batch, 4, sd.LATENT_SIZE, sd.LATENT_SIZE)
        text = torch.empty(batch + 1, sd.TEXT_LENGTH, sd.TEXT_WIDTH)
        rows = text[torch.zeros(2 * batch, dtype=torch.int64)]
        generator.unet(x, torch.zeros(()), rows, return_dict=False)
    return live.peak


@torch.no_grad()
def memory_of_decoding(generator: TextToImage, batch: int) -> int:
    """Return the bytes of decoding `batch` images, at most as many at once as the project does."""
    with follow(generator) as live:
        latents = torch.empty(batch, 4, sd.LATENT_SIZE, sd.LATENT_SIZE, dtype=torch.float32)
        decode(generator, latents)
    return live.peak


def memory_of_training(name: str, batch: int, dtype: torch.dtype) -> int:
    """Return the bytes of one step of training a classifier: weights in float32, autocast else."""
    with torch.device("meta"):
        model = sd.make_classifier(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        live = LiveBytes()
        live.live = 2 * sum(weights.nbytes for weights in model.parameters())  # and their momentum
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


def main() -> None:
    """Print operations and gigabytes, and save them."""
    operations = operations_of_stable_diffusion() | {
        name: operations_of_a_training_image(name) for name in sd.CLASSIFIERS
    }
    gigabytes: dict[str, dict[str, list[float]]] = {}
    for dtype in (torch.bfloat16, torch.float32):
        with fake_generator(dtype) as generator:
            gigabytes[str(dtype).removeprefix("torch.")] = {
                name: [round(count(generator, batch) / 1e9, 2) for batch in BATCHES]
                for name, count in MEMORY.items()
            }
        gigabytes[str(dtype).removeprefix("torch.")] |= {
            name: [round(memory_of_training(name, n, dtype) / 1e9, 2) for n in TRAINING_BATCHES]
            for name in sd.CLASSIFIERS
        }
    for name, count in operations.items():
        print(f"{name}: {count / 1e12:.4f} tera-operations")
    for dtype, rows in gigabytes.items():
        for name, row in rows.items():
            batches = TRAINING_BATCHES if name in sd.CLASSIFIERS else BATCHES
            print(f"{dtype} {name}: {row} GB at batches {list(batches)}")
    batches = {"stable_diffusion": BATCHES, "training": TRAINING_BATCHES}
    found = {"operations": operations, "gigabytes": gigabytes, "batches": batches}
    write_json(measure.RESULTS / "counted/full_size.json", found)


if __name__ == "__main__":
    main()
