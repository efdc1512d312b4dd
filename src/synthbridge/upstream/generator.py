"""The miniature Stable Diffusion: a VAE, and a UNet on the frozen text tower of CLIP."""

# diffusers' annotations are narrower than what it takes and returns.
# pyright: reportArgumentType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging

from synthbridge.upstream.glyphs import IMAGE_SIZE
from synthbridge.upstream.optimisation import descend, take_steps
from synthbridge.upstream.pool import Pool, scale_pixels
from synthbridge.upstream.settings import GeneratorSettings, MiniatureTraining

LATENT_CHANNELS = 4
LATENT_SIZE = 4  # pixels a side: the VAE of three blocks halves 16 twice
# Of the sum over a latent's values, beside the mean squared error (Rombach et al.).
KL_WEIGHT = 1e-6
NUM_TIMESTEPS = 1000

Prediction = Literal["noise", "v", "flow"]
Scheduler = DDPMScheduler | DPMSolverMultistepScheduler


def write_vae(settings: GeneratorSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Train a VAE on the pool's images and write it."""
    vae = make_vae(settings.seed)
    steps = train_vae(vae, scale_pixels(read().images), settings.vae, settings.seed)
    take_steps(steps, settings.vae.num_steps, "training the VAE")
    vae.save_pretrained(folder)


def write_generator(
    settings: GeneratorSettings, read: Callable[[], Pool], vae: Path, clip: Path, folder: Path
) -> None:
    """Train a UNet for a VAE and CLIP's text tower, both frozen, and write the pipeline."""
    pool, decoder = read(), load_vae(vae)
    latents = encode_images(decoder, scale_pixels(pool.images))
    scale = 1 / latents.mean.std().item()  # to unit variance
    decoder.register_to_config(scaling_factor=scale)
    text_encoder, tokenizer = load_text_tower(clip)
    states, rows = encode_captions(text_encoder, tokenizer, pool.captions)
    scheduler = make_scheduler(settings.prediction)
    unet = make_unet(states.shape[-1], settings.seed)
    captioned = CaptionedLatents(latents.scaled(scale), states, rows)
    steps = train_unet(unet, scheduler, captioned, settings)
    take_steps(steps, settings.unet.num_steps, "training the UNet")
    save_generator(folder, decoder, unet, scheduler, text_encoder, tokenizer)


def make_vae(seed: int) -> AutoencoderKL:
    """Make an untrained VAE from (3, 16, 16) to (4, 4, 4)."""
    torch.manual_seed(seed)  # diffusers draws initial weights from the global generator
    vae = AutoencoderKL(
        sample_size=IMAGE_SIZE,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    return vae.to(memory_format=torch.channels_last)


def make_unet(text_width: int, seed: int) -> UNet2DConditionModel:
    """Make an untrained UNet that attends to text states of `text_width`."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        # Attention at the inner level alone: it gives up nothing we measured and saves a third.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=4,  # diffusers' name for the number of heads, as in SD 1.5
    )
    return unet.to(memory_format=torch.channels_last)


def make_scheduler(prediction: Prediction = "noise") -> Scheduler:
    """Make Stable Diffusion's noise schedule, or that of a rectified flow (arXiv:2209.03003).

    Of diffusers' schedulers of flows this one can be told from the others by what it says of
    itself, and its own StableDiffusionPipeline draws with it.
    """
    if prediction == "flow":
        return DPMSolverMultistepScheduler(
            num_train_timesteps=NUM_TIMESTEPS,
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=1.0,  # none, for so few latents (arXiv:2403.03206, 5.3.2)
            steps_offset=1,
        )
    return DDPMScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="epsilon" if prediction == "noise" else "v_prediction",
        clip_sample=False,
        steps_offset=1,
    )


def train_vae(
    vae: AutoencoderKL, images: Tensor, settings: MiniatureTraining, seed: int
) -> Iterator[float]:
    """Train `vae` in place on `images` (N, 3, 16, 16) of -1..1; yields the error of each step."""
    generator = torch.Generator().manual_seed(seed)
    size, num_steps = (settings.batch_size,), settings.num_steps
    vae.train()
    with descend(vae, settings.learning_rate, num_steps, max_norm=1.0) as step:
        for _ in range(num_steps):
            chosen = torch.randint(len(images), size, generator=generator)
            batch = images[chosen].to(memory_format=torch.channels_last)
            posterior = vae.encode(batch).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
            error = F.mse_loss(decoded, batch)
            step(error + KL_WEIGHT * posterior.kl().mean())
            yield error.item()
    vae.eval()


@dataclass(frozen=True)
class Latents:
    """The posteriors of N images: normal distributions with these means and deviations."""

    mean: Tensor  # (N, 4, 4, 4)
    std: Tensor  # (N, 4, 4, 4)

    def scaled(self, factor: float) -> "Latents":
        """Return them multiplied by `factor`."""
        return Latents(self.mean * factor, self.std * factor)

    def sample(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one latent for each of the B images `chosen` (B,): (B, 4, 4, 4)."""
        mean = self.mean[chosen]
        return mean + self.std[chosen] * torch.randn(mean.shape, generator=generator)


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: Tensor) -> Latents:
    """Return the latents of `images` (N, 3, 16, 16), not scaled."""
    posteriors = [vae.encode(batch).latent_dist for batch in images.split(500)]
    return Latents(
        torch.cat([posterior.mean for posterior in posteriors]),
        torch.cat([posterior.std for posterior in posteriors]),
    )


def load_vae(folder: Path) -> AutoencoderKL:
    """Load the VAE in `folder`."""
    vae = AutoencoderKL.from_pretrained(folder)
    vae.register_to_config(_name_or_path="")  # no path of this machine in what is saved
    return vae.to(memory_format=torch.channels_last)


def load_text_tower(clip: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Load the text tower of the CLIP model in folder `clip`, and its tokenizer."""
    logging.set_verbosity_error()  # it would list the image tower's weights, which we leave out
    logging.disable_progress_bar()  # of half a second
    return CLIPTextModel.from_pretrained(clip), CLIPTokenizer.from_pretrained(clip)


@torch.inference_mode()
def encode_captions(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, captions: list[str]
) -> tuple[Tensor, Tensor]:
    """Read each different caption once.

    Returns:
        The text states (M, 16, D) of the M different captions, the empty one first, and which of
        them each of the N captions is (N,).
    """
    different = ["", *sorted(set(captions) - {""})]
    rows = {caption: row for row, caption in enumerate(different)}
    tokens = tokenizer(different, padding="max_length", truncation=True, return_tensors="pt")
    states = [text_encoder(batch).last_hidden_state for batch in tokens.input_ids.split(500)]
    return torch.cat(states), torch.tensor([rows[caption] for caption in captions])


@dataclass(frozen=True)
class CaptionedLatents:
    """What the UNet learns from: N images and the text states of their captions."""

    latents: Latents  # unit variance; drawn anew at each step, as an inversion will draw them
    states: Tensor  # (M, 16, D) of the M different captions, row 0 those of the empty one
    rows: Tensor  # (N,), the row of `states` that belongs to each image


def train_unet(
    unet: UNet2DConditionModel,
    scheduler: Scheduler,
    captioned: CaptionedLatents,
    settings: GeneratorSettings,
) -> Iterator[float]:
    """Train `unet` in place (arXiv:2112.10752, eq. 3, and its kin); yields each loss."""
    run, rows = settings.unet, captioned.rows
    generator = torch.Generator().manual_seed(settings.seed)
    size = (run.batch_size,)
    unet.train()
    with descend(unet, run.learning_rate, run.num_steps, max_norm=1.0) as step:
        for _ in range(run.num_steps):
            chosen = torch.randint(len(rows), size, generator=generator)
            kept = torch.rand(size, generator=generator) >= settings.caption_dropout
            times = torch.randint(NUM_TIMESTEPS, size, generator=generator)
            clean = captioned.latents.sample(chosen, generator)
            noise = torch.randn(clean.shape, generator=generator)
            lesson = make_lesson(scheduler, settings.prediction, clean, noise, times)
            noisy = lesson.noisy.to(memory_format=torch.channels_last)
            predicted = unet(noisy, lesson.times, captioned.states[rows[chosen] * kept]).sample
            loss = F.mse_loss(predicted, lesson.target)
            step(loss)
            yield loss.item()
    unet.eval()


@dataclass(frozen=True)
class Lesson:
    """What the UNet is shown, and what it should say."""

    noisy: Tensor  # (B, 4, 4, 4)
    times: Tensor  # (B,), as it is told them
    target: Tensor  # (B, 4, 4, 4)


def make_lesson(
    scheduler: Scheduler, prediction: Prediction, clean: Tensor, noise: Tensor, times: Tensor
) -> Lesson:
    """Noise latents x_0, with the same draws whatever is learned.

    Args:
        scheduler: of `make_scheduler`.
        prediction: noise eps; v = alpha eps - sigma x_0 (arXiv:2202.00512), which needs no other
            schedule; or flow: eps - x_0 at x_t = (1 - t) x_0 + t eps (arXiv:2209.03003).
        clean: x_0 (B, 4, 4, 4).
        noise: eps, of the same shape.
        times: (B,) of 0..999.
    """
    if prediction == "flow":
        t = ((times + 1) / NUM_TIMESTEPS).view(-1, 1, 1, 1)  # evenly in 0.001..1
        return Lesson((1 - t) * clean + t * noise, times + 1, noise - clean)
    assert isinstance(scheduler, DDPMScheduler)
    noisy = scheduler.add_noise(clean, noise, times)  # pyright: ignore
    if prediction == "noise":
        return Lesson(noisy, times, noise)
    return Lesson(noisy, times, scheduler.get_velocity(clean, noise, times))  # pyright: ignore


def save_generator(
    folder: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    scheduler: Scheduler,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Save the parts to `folder` as StableDiffusionPipeline reads them."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        scheduler=scheduler,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
