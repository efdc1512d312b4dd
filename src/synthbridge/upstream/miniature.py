"""The miniature's models: each is made whole, in a folder, from settings, pool and parts."""

from collections.abc import Callable, Iterator
from pathlib import Path

from synthbridge.core.log import progress
from synthbridge.upstream import backbone, clip, generator
from synthbridge.upstream.pool import Pool
from synthbridge.upstream.settings import BackboneSettings, ClipSettings, GeneratorSettings
from synthbridge.upstream.tokenizer import train_tokenizer


def _run(steps: Iterator[float], num_steps: int, what: str) -> None:
    """Take all training steps."""
    for _ in progress(steps, total=num_steps, what=what, unit="step"):
        pass


def make_clip(params: ClipSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Write the model, its tokenizer and its image processor."""
    pool = read()
    tokenizer = train_tokenizer(pool.captions, folder)
    model = clip.make_clip(tokenizer, params.seed)
    steps = clip.train_clip(model, tokenizer, pool, params)
    _run(steps, params.num_steps, "training CLIP")
    clip.save_clip(model, folder)


def make_vae(params: GeneratorSettings, read: Callable[[], Pool], folder: Path) -> None:
    """Write the VAE."""
    images = clip.scale_pixels(read().images)
    vae = generator.make_vae(params.seed)
    steps = generator.train_vae(vae, images, params.vae, params.seed)
    _run(steps, params.vae.num_steps, "training the VAE")
    vae.save_pretrained(folder)


def make_generator(
    params: GeneratorSettings, read: Callable[[], Pool], vae: Path, tower: Path, folder: Path
) -> None:
    """Train a UNet for a VAE and a CLIP text tower, both frozen, and write the pipeline."""
    pool, decoder = read(), generator.load_vae(vae)
    latents = generator.encode_images(decoder, clip.scale_pixels(pool.images))
    scale = 1 / latents.mean.std().item()  # to unit variance
    decoder.register_to_config(scaling_factor=scale)
    text_encoder, tokenizer = generator.load_text_tower(tower)
    states, rows = generator.encode_captions(text_encoder, tokenizer, pool.captions)
    scheduler, unet = generator.make_scheduler(), generator.make_unet(states.shape[-1], params.seed)
    steps = generator.train_unet(
        unet, scheduler, latents.scaled(scale), states, rows, params.unet,
        caption_dropout=params.caption_dropout, seed=params.seed,
    )  # fmt: skip
    _run(steps, params.unet.num_steps, "training the UNet")
    generator.save_generator(folder, decoder, unet, scheduler, text_encoder, tokenizer)


def make_backbone(params: BackboneSettings, folder: Path) -> None:
    """Draw letters, train on them, and write the model in timm's layout."""
    model = backbone.make_backbone(params.model, params.input_size, params.seed)
    images, labels = backbone.draw_letters(params.num_images, params.input_size, params.seed)
    steps = backbone.train_backbone(model, images, labels, params)
    _run(steps, params.num_steps, "training the backbone")
    backbone.save_backbone(model, folder)
