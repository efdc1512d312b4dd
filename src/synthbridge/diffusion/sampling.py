"""Sampling: prompts and seeds become images, in our own denoising loop."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from synthbridge.diffusion.generator import Condition, Generator, join
from synthbridge.diffusion.image_guidance import ImageGuidance, Start, noise_start
from synthbridge.diffusion.memory import MAX_PIXELS_DECODED, MAX_PIXELS_DENOISED, at_once
from synthbridge.diffusion.schedule import Step, find_clean
from synthbridge.diffusion.settings import Sampler
from synthbridge.diffusion.to_device import send

PROMPTS_PER_ENCODING = 256  # prompts that pass through the text encoder at once


def sample_images(
    generator: Generator,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: Sampler,
    num_steps: int,
    guidance_scale: float,
    guided_fraction: float = 1.0,
    batch_size: int,
    image_guidance: ImageGuidance | None = None,
) -> Iterator[np.ndarray]:
    """Draw one image for each prompt and seed, and yield them batch by batch, in order.

    The same batch gives the same bytes; an image depends on the others of its batch by rounding
    only, so that it can be drawn again alone.

    Args:
        generator: the model, on the device to use.
        prompts: one an image; each distinct one is encoded once.
        seeds: one an image, from `prompts.image_seed`.
        sampler: one of the generator's.
        num_steps: denoising steps; from a real image the fraction of them that its strength says.
        guidance_scale: w of Bridged's eq. 1; 1 = no guidance, at half the work.
        guided_fraction: of the steps, from the first on; the others take the prompt's prediction
            alone, at half the work (arXiv:2312.12487 finds their guidance without effect).
        batch_size: images denoised at once, or MAX_PIXELS_DENOISED if that is less; the last batch
            may be smaller.
        image_guidance: the real image that each starts from; None = noise alone.

    Yields:
        uint8 (B, H, W, 3). An image with a value that is not a number is all black, for
        `check_images` to refuse.

    Raises:
        ValueError: if a prompt is too long, or the generator does not take the settings.
    """
    assert len(prompts) == len(seeds)
    check_sampling(generator, sampler, num_steps, guidance_scale)
    strength = image_guidance.strength if image_guidance else None
    steps = generator.steps(sampler, num_steps, strength)
    # The empty prompt comes first: it is the condition of the unguided half of each batch.
    distinct = list(dict.fromkeys(["", *prompts]))
    places = {prompt: place for place, prompt in enumerate(distinct)}
    condition = encode_prompts(generator, distinct)
    batch_size = min(batch_size, at_once(MAX_PIXELS_DENOISED, generator.image_size))
    for start in range(0, len(prompts), batch_size):
        batch = slice(start, start + batch_size)
        index = torch.tensor([places[prompt] for prompt in prompts[batch]])
        latents = denoise(
            generator,
            condition,
            index,
            seeds[batch],
            steps=steps,
            guidance_scale=guidance_scale,
            guided_fraction=guided_fraction,
            start=image_guidance.start(batch) if image_guidance else None,
        )
        yield decode(generator, latents).cpu().numpy()


def check_sampling(
    generator: Generator, sampler: Sampler, num_steps: int, guidance_scale: float
) -> None:
    """Refuse settings that make no sense for the generator.

    Raises:
        ValueError: which one, and what it may be.
    """
    if sampler not in generator.samplers:
        raise ValueError(
            f"generate.sampler is {sampler}, which this generator ({generator.name}) does not "
            f"take; choose {' or '.join(generator.samplers)}"
        )
    fewest, most = generator.num_steps
    if not fewest <= num_steps <= most:
        raise ValueError(
            f"generate.num_steps is {num_steps}, and this generator ({generator.name}) draws in "
            f"{fewest} to {most} steps; choose one of these"
        )
    if generator.guidance == "none" and guidance_scale != 1:
        raise ValueError(
            f"guidance_scale is {guidance_scale}, and this generator ({generator.name}) is made to "
            "draw without guidance; set it to 1"
        )


@torch.inference_mode()
def encode_prompts(generator: Generator, prompts: Sequence[str]) -> Condition:
    """Encode prompts, of which the empty one becomes what the generator's guidance pulls from."""
    tokens = generator.tokenize(prompts)
    parts = zip(*(ids.split(PROMPTS_PER_ENCODING) for ids in tokens), strict=True)
    with generator.encoding():
        condition = join([generator.encode(part) for part in parts])
    if generator.empty_is_zeros:
        empty = [row for row, prompt in enumerate(prompts) if not prompt]
        condition.sequence[empty] = 0
        if condition.pooled is not None:
            condition.pooled[empty] = 0
    return condition


@torch.inference_mode()
def denoise(
    generator: Generator,
    condition: Condition,
    index: torch.Tensor,
    seeds: Sequence[int],
    *,
    steps: Sequence[Step],
    guidance_scale: float,
    guided_fraction: float = 1.0,
    start: Start | None = None,
) -> torch.Tensor:
    """Turn noise into latents (B, C, h, w), float32, for the prompts `index` of `condition`.

    Args:
        generator: the model.
        condition: distinct prompts, the empty one first.
        index: the prompt of each image (B,).
        seeds: one an image: it draws its first noise and then each step's, where there is any.
        steps: what `make_steps` lists.
        guidance_scale: w of eq. 1.
        guided_fraction: of the steps, from the first on, in 0..1.
        start: real images (B,) to begin with in the place of noise, where `steps` are the last of
            a schedule; the seeds then draw a sample of the VAE's posterior before all else.
    """
    device, shape = generator.device, generator.latent_shape
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = draw_noise(draws, shape, device)
    if start is None and steps[0].start != 1:
        x *= steps[0].start
    if start is not None:
        x = noise_start(start, x, draw_noise(draws, shape, device), steps[0])
    x_0_before = x
    timesteps = send(torch.tensor([step.timestep for step in steps]), device)
    num_guided = round(guided_fraction * len(steps))
    for scale, part in ((guidance_scale, slice(num_guided)), (1.0, slice(num_guided, None))):
        if not steps[part]:
            continue
        predict = _prediction(generator, condition, index, scale)
        for step, timestep in zip(steps[part], timesteps[part], strict=True):
            x_0 = find_clean(generator.prediction, predict(x, timestep), x, step.alpha, step.sigma)
            x = (step.keep * x).add_(x_0, alpha=step.clean)
            if step.before:
                x.add_(x_0_before, alpha=step.before)
            if step.noise:
                x.add_(draw_noise(draws, shape, device), alpha=step.noise)
            x_0_before = x_0
    return x


def _prediction(
    generator: Generator, condition: Condition, index: torch.Tensor, guidance_scale: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return what the denoiser says of x and a timestep, guided by eq. 1; all as `denoise`."""
    is_guided = generator.guidance == "classifier-free" and guidance_scale != 1
    rows = torch.cat([torch.zeros_like(index), index]) if is_guided else index
    condition = condition.rows(send(rows, generator.device))

    def predict(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        x_in = torch.cat([x, x]) if is_guided else x
        predicted = generator.predict(x_in, timestep, condition, guidance_scale)
        if not is_guided:
            return predicted
        of_empty, of_prompt = predicted.chunk(2)
        return torch.lerp(of_empty, of_prompt, guidance_scale)  # w of_prompt + (1 - w) of_empty

    return predict


def draw_noise(
    draws: Sequence[torch.Generator], shape: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """Draw standard normal noise, each row from its own CPU generator: (B, *shape), float32."""
    noise = torch.empty((len(draws), *shape))
    for row, draw in zip(noise, draws, strict=True):
        row.normal_(generator=draw)
    return send(noise, device)


@torch.inference_mode()
def decode(generator: Generator, latents: torch.Tensor) -> torch.Tensor:
    """Decode latents (B, C, h, w) to uint8 images (B, H, W, 3), on the device."""
    parts = latents.split(at_once(MAX_PIXELS_DECODED, generator.image_size))
    return torch.cat([_to_uint8(generator.decode_latents(part)) for part in parts])


def _to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Turn (B, 3, H, W) in [-1, 1] into uint8 (B, H, W, 3); an image with a NaN into black."""
    is_number = images.isfinite().flatten(1).all(1)[:, None, None, None]
    images = images.mul(127.5).add_(127.5).clamp_(0, 255).round_()
    return torch.where(is_number, images, 0).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def check_images(images: np.ndarray, names: Sequence[str]) -> None:
    """Refuse images that are one flat colour: the model's numbers left the range it computes in.

    Args:
        images: uint8 (B, H, W, 3).
        names: what to call each of them.

    Raises:
        ValueError: if one is flat.
    """
    pixels = images.reshape(len(images), -1, images.shape[-1])
    is_flat = (pixels == pixels[:, :1]).all(axis=(1, 2))
    if is_flat.any():
        flat = [name for name, flat in zip(names, is_flat, strict=True) if flat]
        raise ValueError(
            f"the generator drew {len(flat)} images of one flat colour ({', '.join(flat[:3])}), "
            "as a model does whose numbers overflow; draw them in bfloat16 or float32, or choose "
            "a lower guidance_scale"
        )
