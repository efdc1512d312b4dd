"""What work costs: amounts of each kind of work, and the seconds that they take.

With these functions `missing_work` counts what a stage is about to do, and `dataset_work` what all
stages will.
"""

import math
from collections.abc import Mapping, Sequence

from synthbridge.diffusion.settings import (
    LEARNED,
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
    count_steps,
)
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.upstream.settings import (
    BackboneSettings,
    ClipSettings,
    GeneratorSettings,
    PoolSettings,
    UpstreamSettings,
)

Amounts = Mapping[str, float]  # kind of work -> how much of it

NUM_READINGS = 11  # of an inversion's loss at fixed noise


def add(*amounts: Amounts) -> dict[str, float]:
    """Sum amounts kind by kind."""
    summed: dict[str, float] = {}
    for part in amounts:
        for kind, amount in part.items():
            summed[kind] = summed.get(kind, 0) + amount
    return summed


def drawing(
    num_images: int,
    sampling: SamplingSettings,
    guidance_scale: float,
    image_strength: float | None = None,
    *,
    is_told_scale: bool = False,
) -> Amounts:
    """Images: a guided step takes two rows through the denoiser, any other one.

    Those of LCM, and of a generator that is told the scale (FLUX.1-dev), take one.
    """
    steps = count_steps(sampling.num_steps, image_strength)
    has_two_rows = guidance_scale != 1 and sampling.sampler != "lcm" and not is_told_scale
    guided = round(sampling.guided_fraction * steps) if has_two_rows else 0
    return {"denoised_row": num_images * (steps + guided), "drawn_image": num_images}


def learning(
    settings: SyntheticSettings,
    invert: InversionSettings,
    tune: TuneSettings,
    sampling: SamplingSettings,
    size: DatasetSize,
    *,
    is_told_scale: bool = False,
) -> Amounts:
    """What one subset of a set learns from its real images, and the grid of samples after it.

    The words of `oracle` are learned from texts alone, for next to nothing.
    """
    if settings.prompts not in LEARNED and settings.tuned is None:
        return {}
    grid = drawing(
        size.num_classes * invert.samples_per_class,
        sampling,
        settings.guidance_scale,
        is_told_scale=is_told_scale,
    )
    if settings.prompts == "oracle":
        return grid
    if settings.tuned is not None:
        num_loras = size.num_classes if settings.tuned == "class" else 1
        return add(_tuning(size, settings.shots, tune, num_loras), grid)
    return style(size.num_seen(settings.shots), invert, grid)


def _tuning(
    size: DatasetSize, shots: int | str | None, tune: TuneSettings, num_loras: int
) -> Amounts:
    """All LoRAs of a subset: a row takes what one of an inversion takes, and each is read twice."""
    steps = size.num_classes * tune.steps_per_class + num_loras * 2 / 3
    return {"encoded_image": size.num_seen(shots), "inverted_row": steps * tune.batch_size}


def style(num_images: int, invert: InversionSettings, grid: Amounts) -> Amounts:
    """One style token, learned from `num_images`; `grid` is what its samples take to draw."""
    # A reading goes forward only, a third of a step.
    rows = (invert.num_steps + NUM_READINGS / 3) * invert.batch_size
    return add({"encoded_image": num_images, "inverted_row": rows}, grid)


def leg(num_images: int, num_steps: int, batch_size: int) -> Amounts:
    """Gradient steps on `num_images` in batches of nearly equal size."""
    rows = num_images / math.ceil(num_images / batch_size)
    return {"gradient_step": num_steps, "trained_row": num_steps * rows}


def pool_shards(pool: PoolSettings) -> list[Amounts]:
    """The shards of the miniature's pool."""
    count = math.ceil(pool.num_images / pool.images_per_shard)
    return [{"pool_image": pool.num_images / count}] * count


def miniature_models(upstream: UpstreamSettings) -> list[dict[str, Amounts]]:
    """The miniature's models that `upstream` trains, by name: in two rounds, as they need it."""
    clip, generator, backbone = upstream.clip, upstream.generator, upstream.backbone
    first: dict[str, Amounts] = {}
    last: dict[str, Amounts] = {}
    if isinstance(clip, ClipSettings):
        first["clip"] = {"clip_row": clip.num_steps * clip.batch_size}
    if isinstance(generator, GeneratorSettings):
        first["vae"] = {"vae_row": generator.vae.num_steps * generator.vae.batch_size}
        last["generator"] = {"unet_row": generator.unet.num_steps * generator.unet.batch_size}
    if isinstance(backbone, BackboneSettings):
        rows = backbone.num_steps * backbone.batch_size
        last["backbone"] = {"letter": backbone.num_images, "letter_row": rows}
    return [first, last]


def first_leg(num_images: int, num_steps: int, batch_size: int, num_models: int) -> Amounts:
    """One of the `num_models` stage-one models of a seed, whose images are decoded once."""
    fixed: Amounts = {"training": 1, "read_image": num_images / num_models}
    return add(fixed, leg(num_images, num_steps, batch_size))


def choosing(num_learned: int, num_judged: int, num_steps: int, batch_size: int) -> Amounts:
    """One classifier that chooses images: trained on some, asked about all."""
    read = num_learned + num_judged
    fixed: Amounts = {"training": 1, "read_image": read, "predicted_row": num_judged}
    return add(fixed, leg(num_learned, num_steps, batch_size))


def total(amounts: Amounts, each: Mapping[str, float]) -> float:
    """Return what all amounts take together: seconds of one process, or bytes."""
    return sum(amount * each[kind] for kind, amount in amounts.items())


def seconds_of_units(
    units: Sequence[Amounts], seconds: Mapping[str, float], processes: int, shared: bool
) -> float:
    """Return the seconds until the last of several processes has done its units.

    Args:
        units: each is taken whole by one process: every n-th by the same, as `my_share` deals.
        seconds: of one of each kind of work.
        processes: how many there are.
        shared: fewer units than processes are shared by all of them (trainings).
    """
    each = [total(unit, seconds) for unit in units]
    if shared and len(each) < processes:
        return sum(each) / processes
    return max((sum(each[rank::processes]) for rank in range(processes)), default=0.0)
