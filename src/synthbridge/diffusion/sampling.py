"""Sampling: prompts and seeds become images, in our own denoising loop."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from synthbridge.diffusion.image_guidance import ImageGuidance, Start, noise_start
from synthbridge.diffusion.loading import TextToImage
from synthbridge.diffusion.schedule import Step, make_steps
from synthbridge.diffusion.settings import Sampler
from synthbridge.diffusion.text import encode, tokenize
from synthbridge.diffusion.to_device import send

# Denoised at once: 32 images of 512 x 512, 64 rows with guidance, take about 8 GB in bfloat16.
MAX_PIXELS_DENOISED = 32 * 512 * 512
# Decoded at once: 16 images of 512 x 512 take about 6 GB in bfloat16, whatever the batch size.
MAX_PIXELS_DECODED = 16 * 512 * 512
PROMPTS_PER_ENCODING = 256  # prompts that pass through the text encoder at once


def sample_images(
    generator: TextToImage,
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
        sampler: `ddpm` or `dpm++`.
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
        ValueError: if a prompt is too long, or the schedule too short for `num_steps`.
    """
    assert len(prompts) == len(seeds)
    strength = image_guidance.strength if image_guidance else None
    steps = make_steps(sampler, num_steps, generator.scheduler_config, strength)
    # The empty prompt comes first: it is the condition of the unguided half of each batch.
    distinct = list(dict.fromkeys(["", *prompts]))
    places = {prompt: place for place, prompt in enumerate(distinct)}
    text = encode_prompts(generator, distinct)
    batch_size = min(batch_size, max(1, MAX_PIXELS_DENOISED // generator.image_size**2))
    for start in range(0, len(prompts), batch_size):
        batch = slice(start, start + batch_size)
        index = torch.tensor([places[prompt] for prompt in prompts[batch]])
        latents = denoise(
            generator,
            text,
            index,
            seeds[batch],
            steps=steps,
            guidance_scale=guidance_scale,
            guided_fraction=guided_fraction,
            start=image_guidance.start(batch) if image_guidance else None,
        )
        yield decode(generator, latents).cpu().numpy()


@torch.inference_mode()
def encode_prompts(generator: TextToImage, prompts: Sequence[str]) -> torch.Tensor:
    """Encode prompts: (P, L, D) on the generator's device, as its UNet takes them."""
    ids = tokenize(generator.tokenizer, prompts)
    parts = [encode(generator.text_encoder, part) for part in ids.split(PROMPTS_PER_ENCODING)]
    return torch.cat(parts).to(generator.dtype)


@torch.inference_mode()
def denoise(
    generator: TextToImage,
    text: torch.Tensor,
    index: torch.Tensor,
    seeds: Sequence[int],
    *,
    steps: Sequence[Step],
    guidance_scale: float,
    guided_fraction: float = 1.0,
    start: Start | None = None,
) -> torch.Tensor:
    """Turn noise into latents (B, 4, h, w), float32, for the prompts `text[index]`.

    Args:
        generator: the model.
        text: distinct prompts, encoded (P, L, D), the empty one first.
        index: the prompt of each image (B,).
        seeds: one an image: it draws its first noise and then, with DDPM, each step's.
        steps: what `make_steps` lists.
        guidance_scale: w of eq. 1.
        guided_fraction: of the steps, from the first on, in 0..1.
        start: real images (B,) to begin with in the place of noise, where `steps` are the last of
            a schedule; the seeds then draw a sample of the VAE's posterior before all else.
    """
    unet, device = generator.unet, generator.device
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    shape = (unet.config["in_channels"], unet.config["sample_size"], unet.config["sample_size"])
    x = draw_noise(draws, shape, device)
    if start is not None:
        x = noise_start(start, x, draw_noise(draws, shape, device), steps[0])
    x_0_before = x
    timesteps = send(torch.tensor([step.timestep for step in steps]), device)
    num_guided = round(guided_fraction * len(steps))
    for scale, part in ((guidance_scale, slice(num_guided)), (1.0, slice(num_guided, None))):
        if not steps[part]:
            continue
        predict_noise = _noise_prediction(generator, text, index, scale)
        for step, timestep in zip(steps[part], timesteps[part], strict=True):
            eps = predict_noise(x, timestep)
            x_0 = torch.sub(x, eps, alpha=step.sigma).div_(step.alpha)
            x = (step.keep * x).add_(x_0, alpha=step.clean)
            if step.before:
                x.add_(x_0_before, alpha=step.before)
            if step.noise:
                x.add_(draw_noise(draws, shape, device), alpha=step.noise)
            x_0_before = x_0
    return x


def _noise_prediction(
    generator: TextToImage, text: torch.Tensor, index: torch.Tensor, guidance_scale: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return eps(x, timestep), guided by eq. 1, for the prompts `text[index]`; all as `denoise`."""
    unet, is_guided = generator.unet, guidance_scale != 1
    rows = torch.cat([torch.zeros_like(index), index]) if is_guided else index
    text = text[send(rows, generator.device)]

    def predict(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        x_in = torch.cat([x, x]) if is_guided else x
        eps = unet(x_in.to(generator.dtype), timestep, text, return_dict=False)[0].float()
        if not is_guided:
            return eps
        eps_empty, eps_prompt = eps.chunk(2)
        return torch.lerp(eps_empty, eps_prompt, guidance_scale)  # w eps(c) + (1 - w) eps

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
def decode(generator: TextToImage, latents: torch.Tensor) -> torch.Tensor:
    """Decode latents (B, 4, h, w) to uint8 images (B, H, W, 3), on the device."""
    vae = generator.vae
    pixels = latents.shape[-1] * latents.shape[-2] * generator.pixels_per_latent**2
    parts = (latents / vae.config["scaling_factor"]).to(vae.dtype)
    return torch.cat(
        [
            _to_uint8(vae.decode(part, return_dict=False)[0].float())
            for part in parts.split(max(1, MAX_PIXELS_DECODED // pixels))
        ]
    )


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
