"""The speeds of the miniature upstream on this machine: its pool, and a few steps of its models."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from synthbridge.forecast.stopwatch import least_seconds
from synthbridge.upstream import backbone, clip, generator
from synthbridge.upstream.pool import Pool, read_pool, scale_pixels, write_pool_shard
from synthbridge.upstream.settings import (
    BackboneSettings,
    ClipSettings,
    GeneratorSettings,
    PoolSettings,
    UpstreamSettings,
)
from synthbridge.upstream.tokenizer import train_tokenizer

NUM_STEPS, NUM_IMAGES = 6, 400


def measure_miniature(upstream: UpstreamSettings) -> dict[str, float]:
    """Measure what the miniature's settings ask for.

    Returns:
        Seconds of each kind of work that they need; none of a model that comes from elsewhere.
    """
    found: dict[str, float] = {}
    if isinstance(upstream.backbone, BackboneSettings):
        found |= _measure_backbone(upstream.backbone)
    if upstream.pool is None:
        return found
    small = upstream.pool.model_copy(update={"num_images": NUM_IMAGES})
    found["pool_image"] = _seconds_of_image(small)
    if isinstance(upstream.clip, ClipSettings):
        with tempfile.TemporaryDirectory() as name:
            write_pool_shard(small, 0, Path(name))
            pool = read_pool(Path(name))
            found |= _measure_models(upstream.clip, upstream.generator, pool, Path(name))
    return found


def _seconds_of_image(pool: PoolSettings) -> float:
    def run() -> None:
        with tempfile.TemporaryDirectory() as name:
            write_pool_shard(pool.model_copy(update={"num_images": 100}), 0, Path(name))

    return least_seconds(run) / 100


def _measure_backbone(settings: BackboneSettings) -> dict[str, float]:
    model = backbone.make_backbone(settings.model, settings.input_size, settings.seed)
    images, labels = backbone.draw_letters(NUM_IMAGES, settings.input_size, settings.seed)
    drawn = least_seconds(
        lambda: backbone.draw_letters(NUM_IMAGES, settings.input_size, settings.seed)
    )
    step = _seconds_of_step(backbone.train_backbone(model, images, labels, settings))
    return {"letter": drawn / NUM_IMAGES, "letter_row": step / settings.batch_size}


def _measure_models(
    of_clip: ClipSettings, of_generator: object, pool: Pool, folder: Path
) -> dict[str, float]:
    tokenizer = train_tokenizer(pool.captions, folder)
    steps = clip.train_clip(clip.make_clip(tokenizer, 0), tokenizer, pool, of_clip)
    found = {"clip_row": _seconds_of_step(steps) / of_clip.batch_size}
    if not isinstance(of_generator, GeneratorSettings):
        return found
    images = scale_pixels(pool.images)
    vae = generator.make_vae(0)
    steps = generator.train_vae(vae, images, of_generator.vae, 0)
    found["vae_row"] = _seconds_of_step(steps) / of_generator.vae.batch_size
    model = clip.make_clip(tokenizer, 0)
    states, rows = generator.encode_captions(model.text_model, tokenizer, pool.captions)
    latents = generator.encode_images(vae, images)
    captioned = generator.CaptionedLatents(latents, states.clone(), rows)
    unet = generator.make_unet(states.shape[-1], 0)
    steps = generator.train_unet(unet, generator.make_scheduler(), captioned, of_generator)
    found["unet_row"] = _seconds_of_step(steps) / of_generator.unet.batch_size
    return found


def _seconds_of_step(steps: Iterator[float]) -> float:
    return least_seconds(lambda: list(islice(steps, NUM_STEPS))) / NUM_STEPS
