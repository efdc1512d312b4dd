"""Measures the speeds of this machine with the models of params.yaml, in a minute or two."""

import platform
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from ruamel.yaml import YAML
from torch import nn

from synthbridge.clip.embedding import load_clip
from synthbridge.core.files import whole_file
from synthbridge.core.log import say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.units import work_folder
from synthbridge.data.shards import encode_jpeg, index_shard, write_shard
from synthbridge.diffusion.generator import Generator
from synthbridge.diffusion.inversion import Lesson, invert_style
from synthbridge.diffusion.latents import cache_latents
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.sampling import decode, denoise, encode_prompts
from synthbridge.evidence.leep import leep
from synthbridge.evidence.logme import logme
from synthbridge.forecast.generator_bytes import generator_bytes
from synthbridge.forecast.speeds import (
    COMMITTED,
    MEASURED,
    Speeds,
    SpeedsFile,
    backbone_name,
    generator_name,
    read_speeds_file,
)
from synthbridge.forecast.stopwatch import (
    least_seconds,
    seconds_of_code,
    seconds_of_command,
    seconds_of_one,
    smooth_images,
)
from synthbridge.params import Params
from synthbridge.training.classifier import load_backbone, save_classifier
from synthbridge.training.features import extract_features, fixed_feature_accuracies
from synthbridge.training.heads import HeadRecipe, fresh_head
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import Leg, predict, train
from synthbridge.training.recipe import Recipe, make_recipe
from synthbridge.training.team import Team
from synthbridge.upstream.backbone import draw_letters, make_backbone, train_backbone
from synthbridge.upstream.clip import make_clip, train_clip
from synthbridge.upstream.generator import (
    CaptionedLatents,
    encode_captions,
    encode_images,
    make_scheduler,
    make_unet,
    make_vae,
    train_unet,
    train_vae,
)
from synthbridge.upstream.pool import Pool, read_pool, scale_pixels, write_pool_shard
from synthbridge.upstream.settings import (
    BackboneSettings,
    ClipSettings,
    GeneratorSettings,
    PoolSettings,
    UpstreamSettings,
)
from synthbridge.upstream.tokenizer import train_tokenizer

UPSTREAM = Path("data/upstream")  # where dvc.yaml has `upstream` leave the models
STARTS = {"light_start": "plan", "training_start": "select", "upstream_start": "upstream"}
LOADING_CLIP = """
from pathlib import Path; import torch
from synthbridge.clip.embedding import load_clip
from synthbridge.stages import examine
load_clip(Path({folder!r}), torch.device({device!r}))
"""
# What a stage that draws does before it draws, in a process that has done nothing yet.
LOADING_GENERATOR = """
from pathlib import Path; import torch
from synthbridge.diffusion import sampling
from synthbridge.diffusion.loading import load_generator
from synthbridge.stages import generate
from synthbridge.core import processes
load_generator(Path({folder!r})).to_fastest(torch.device({device!r}))
"""
NUM_CLASSES, NUM_IMAGES = 10, 512  # of the made-up images that are trained on
NUM_STEPS, NUM_SMALL = 6, 400  # of the miniature's models


def measure(params: Params, name: str) -> Path:
    """Write this machine's speeds to the work folder, under a short name, and return the file.

    What was measured before with other models stays. Kinds that take too long to measure are those
    of the committed CPU.

    Raises:
        ValueError: if `upstream` has not made the models yet.
    """
    if not (UPSTREAM / "backbone" / "model.safetensors").is_file():
        raise ValueError("speeds are measured with the models themselves; run 'dvc repro upstream'")
    path = work_folder() / MEASURED
    before = read_speeds_file(path).devices.get(name) if path.is_file() else None
    with start_accelerator() as accelerator:
        speeds, sizes = _measure(params, accelerator, before)
    devices = {**(read_speeds_file(path).devices if path.is_file() else {}), name: speeds}
    known = read_speeds_file(path).bytes if path.is_file() else {}
    values = SpeedsFile(devices=devices, bytes={**known, **sizes}).model_dump(exclude_defaults=True)
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    return path


def _measure(
    params: Params, accelerator: Accelerator, before: Speeds | None
) -> tuple[Speeds, dict[str, dict[str, float]]]:
    device, team = accelerator.device, Team(accelerator, rank=0, size=1)
    say("measuring how stages start, a training, and what the upstream needs")
    seconds = {
        kind: seconds_of_command(["-m", "synthbridge", stage, "--help"])
        for kind, stage in STARTS.items()
    }
    seconds |= measure_miniature(params.upstream)
    sizes: dict[str, dict[str, float]] = {}
    name = backbone_name(params.upstream, params.training.image_size)
    backbones = {name: measure_classifier(params, UPSTREAM / "backbone", team)}
    weights = (UPSTREAM / "backbone" / "model.safetensors").stat().st_size
    sizes[name] = {"backbone": weights, "classifier": weights}
    if params.upstream.clip:
        say("measuring CLIP")
        seconds |= _measure_clip(UPSTREAM / "clip", device)
    generators = {}
    if name := generator_name(params.upstream):
        say("measuring drawing and style inversion")
        generators[name] = measure_generator(params, UPSTREAM / "generator", device)
        if name not in read_speeds_file(COMMITTED).bytes:
            sizes[name] = generator_bytes(UPSTREAM / "generator")
    committed = read_speeds_file(COMMITTED).devices["cpu"].seconds
    speeds = Speeds(
        device=_device_name(device),
        kind="cpu" if device.type == "cpu" else "gpu",
        basis="measured",
        date=date.today().isoformat(),
        seconds={**committed, **_rounded(seconds)},
        generators=_merged(before and before.generators, generators),
        backbones=_merged(before and before.backbones, backbones),
    )
    return speeds, sizes


def _merged(
    before: dict[str, dict[str, float]] | None, now: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {**(before or {}), **{name: _rounded(kinds) for name, kinds in now.items()}}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Keep three digits: no measurement tells more."""
    return {kind: float(f"{value:.3g}") for kind, value in seconds.items()}


def _device_name(device: torch.device) -> str:
    """Name the GPU, or the processor as the system does, of which a process has one core."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    models = [row.partition(": ")[2] for row in lines if row.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, one core"


# --- CLIP -----------------------------------------------------------------------------------------


def _measure_clip(folder: Path, device: torch.device) -> dict[str, float]:
    clip = load_clip(folder, device)
    images = smooth_images(256, 32)  # the processor makes them fit
    loading = LOADING_CLIP.format(folder=str(folder), device=str(device))
    return {
        "embedding_start": seconds_of_code(loading),
        "embedded_image": least_seconds(lambda: clip.embed_images(images)) / len(images),
    }


# --- a classifier: training, judging, probing, reading its images ---------------------------------


def measure_classifier(params: Params, folder: Path, team: Team) -> dict[str, float]:
    """Measure the classifier in `folder`.

    Returns:
        Seconds of each of `speeds.BACKBONE_KINDS`.
    """
    settings = params.training
    recipe = make_recipe(settings, folder, flip=True)
    pixels = torch.from_numpy(smooth_images(NUM_IMAGES, settings.resize_size))
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    images = ImageSet(
        pixels.permute(0, 3, 1, 2).contiguous().to(team.device), labels.to(team.device)
    )
    model = load_backbone(folder, num_classes=NUM_CLASSES, seed=0)
    few = max(1, settings.batch_size // 4)
    of_batch = {
        size: _seconds_of_step(model, images, recipe, team, size)
        for size in (few, settings.batch_size)
    }
    rows = max(1, settings.batch_size - few)
    row = max(0.0, (of_batch[settings.batch_size] - of_batch[few]) / rows)
    return {
        "training": _seconds_of_a_model(folder),
        "gradient_step": max(0.0, of_batch[few] - few * row),
        "trained_row": row,
        "predicted_row": least_seconds(lambda: predict(model, images, recipe, team)) / NUM_IMAGES,
        "probed_image": _seconds_of_probing(params, model, images, recipe, team),
        "read_image": _seconds_of_reading(params, team),
    }


def _seconds_of_step(
    model: nn.Module, images: ImageSet, recipe: Recipe, team: Team, batch: int
) -> float:
    recipe = replace(recipe, settings=recipe.settings.model_copy(update={"batch_size": batch}))

    def take(num_steps: int) -> object:
        leg = Leg(num_steps=num_steps, learning_rate=1e-4, seed=0)
        return train(model, images, recipe, leg, team)

    return seconds_of_one(take, 4, 12)[0]


def _seconds_of_a_model(folder: Path) -> float:
    """What every training takes beside its steps: a model is loaded, and one saved."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as name:
            model = load_backbone(folder, num_classes=NUM_CLASSES, seed=0)
            save_classifier(model, Path(name) / "model.safetensors")

    return least_seconds(run)


def _seconds_of_probing(
    params: Params, model: nn.Module, images: ImageSet, recipe: Recipe, team: Team
) -> float:
    """Return the seconds for an image of a data set, half of whose images are for training."""
    index = torch.arange(NUM_IMAGES // 2, device=team.device)
    half = ImageSet(images.at(index), images.labels[index])
    labels = half.labels.cpu().numpy()

    def run() -> None:
        table = extract_features(model, half, recipe)
        extract_features(model, half, recipe)  # the other half
        leep(predict(model, half, recipe, team), labels, NUM_CLASSES)
        logme(table.cpu().numpy(), labels, NUM_CLASSES)
        splits = ("train", "validation", "test")
        start = fresh_head(table.shape[1], NUM_CLASSES, 0).to(table.device)
        rates, num_epochs = params.real_leg.learning_rates, params.probe.num_epochs
        heads = HeadRecipe(recipe.settings, rates, num_epochs)
        for _ in range(2):  # a new head, and the model's own
            fixed_feature_accuracies(
                [dict.fromkeys(splits, table)],
                dict.fromkeys(splits, half.labels),
                [start],
                heads,
                seeds=[0],
            )

    return least_seconds(run, 1) / NUM_IMAGES


def _seconds_of_reading(params: Params, team: Team) -> float:
    """Return the seconds of one JPEG, from its shard to a square in memory."""
    images, size = smooth_images(128, params.training.resize_size), params.training.resize_size
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "shard.tar"
        write_shard(
            path,
            (
                {"__key__": f"{index:05d}", "jpg": encode_jpeg(image, 95), "cls": 0, "json": {}}
                for index, image in enumerate(images)
            ),
        )
        samples = index_shard(path)
        return least_seconds(lambda: load_samples(samples, size, team.device)) / len(images)


# --- a generator: drawing, and learning words -----------------------------------------------------


def measure_generator(params: Params, folder: Path, device: torch.device) -> dict[str, float]:
    """Measure the generator in `folder`.

    Returns:
        Seconds of each of `speeds.GENERATOR_KINDS`.
    """
    model = load_generator(folder).to_fastest(device)
    count = 64 if model.image_size < 256 else 16
    prompts = [f"A photo of a thing {index}" for index in range(count)]
    is_guided = model.guidance == "classifier-free"
    fewest, most = model.num_steps
    sampler = params.generate.sampler
    if sampler not in model.samplers:
        sampler = model.samplers[0]

    def draw(num_steps: int) -> np.ndarray:
        # A model of few steps takes some of them again: each takes the same time.
        steps = cycle(model.steps(sampler, min(max(num_steps, fewest), most)))
        condition = encode_prompts(model, ["", *prompts])
        latents = denoise(
            model,
            condition,
            torch.arange(1, count + 1),
            range(count),
            steps=list(islice(steps, num_steps)),
            guidance_scale=2.0 if is_guided else 1.0,
        )
        return decode(model, latents).cpu().numpy()

    step, decoding = seconds_of_one(draw, 3, 9)
    images = draw(3)
    # Threads write while a GPU draws; on the CPU they take the time of the same cores.
    written = _seconds_of_writing(images, params) if device.type == "cpu" else 0.0
    loading = LOADING_GENERATOR.format(folder=str(folder), device=str(device))
    return {
        "load_generator": seconds_of_code(loading),
        "denoised_row": step / (count * (2 if is_guided else 1)),  # two rows an image with guidance
        "drawn_image": (decoding + written) / count,
        **_measure_inversion(params, model, images),
    }


def _seconds_of_writing(images: np.ndarray, params: Params) -> float:
    def write() -> None:
        with tempfile.TemporaryDirectory() as name:
            samples = (
                {
                    "__key__": f"{index:05d}",
                    "jpg": encode_jpeg(image, params.generate.jpeg_quality),
                    "cls": 0,
                    "json": {"prompt": "A photo of a thing"},
                }
                for index, image in enumerate(images)
            )
            write_shard(Path(name) / "shard.tar", samples)

    return least_seconds(write)


def _measure_inversion(params: Params, model: Generator, images: np.ndarray) -> dict[str, float]:
    lesson = Lesson(
        images=images,
        labels=[index % NUM_CLASSES for index in range(len(images))],
        class_names=[f"thing {index}" for index in range(NUM_CLASSES)],
        flip=False,
    )
    batch = min(params.invert.batch_size, len(images))
    encoded = least_seconds(lambda: cache_latents(model, images, flip=False)) / len(images)
    if not model.vocabularies:  # what is learned there is a LoRA
        step = least_seconds(lambda: _step_back(model, batch))
        return {"encoded_image": encoded, "inverted_row": step / batch}

    def learn(num_steps: int) -> object:
        changes = {"num_steps": num_steps, "batch_size": batch}
        settings = params.invert.model_copy(update=changes)
        return invert_style(model, settings, lesson)

    step, _ = seconds_of_one(learn, 20, 40)  # both read the loss at fixed noise eleven times
    return {"encoded_image": encoded, "inverted_row": step / batch}


def _step_back(model: Generator, batch: int) -> None:
    """Pass a batch through the denoiser, and its gradient back."""
    condition = encode_prompts(model, [f"thing {index}" for index in range(batch)])
    # Copies, since what inference made takes no part in a gradient.
    condition = condition.rows(torch.arange(batch, device=model.device))
    x = torch.randn(batch, *model.latent_shape, device=model.device, requires_grad=True)
    timesteps = torch.full((batch,), 500.0, device=model.device)
    model.predict(x, timesteps, condition, 1.0).square().mean().backward()


# --- the miniature upstream: its pool, and a few steps of its models ------------------------------


def measure_miniature(upstream: UpstreamSettings) -> dict[str, float]:
    """Measure what the miniature's settings ask for.

    Returns:
        Seconds of each kind of work that they need; none of a model that comes from elsewhere.
    """
    found: dict[str, float] = {}
    if isinstance(upstream.backbone, BackboneSettings):
        found |= _measure_letters(upstream.backbone)
    if upstream.pool is None:
        return found
    small = upstream.pool.model_copy(update={"num_images": NUM_SMALL})
    found["pool_image"] = _seconds_of_pool_image(small)
    if isinstance(upstream.clip, ClipSettings):
        with tempfile.TemporaryDirectory() as name:
            write_pool_shard(small, 0, Path(name))
            pool = read_pool(Path(name))
            found |= _measure_models(upstream.clip, upstream.generator, pool, Path(name))
    return found


def _seconds_of_pool_image(pool: PoolSettings) -> float:
    def run() -> None:
        with tempfile.TemporaryDirectory() as name:
            write_pool_shard(pool.model_copy(update={"num_images": 100}), 0, Path(name))

    return least_seconds(run) / 100


def _measure_letters(settings: BackboneSettings) -> dict[str, float]:
    model = make_backbone(settings.model, settings.input_size, settings.seed)
    images, labels = draw_letters(NUM_SMALL, settings.input_size, settings.seed)
    drawn = least_seconds(lambda: draw_letters(NUM_SMALL, settings.input_size, settings.seed))
    step = _seconds_of_next_step(train_backbone(model, images, labels, settings))
    return {"letter": drawn / NUM_SMALL, "letter_row": step / settings.batch_size}


def _measure_models(
    of_clip: ClipSettings, of_generator: object, pool: Pool, folder: Path
) -> dict[str, float]:
    tokenizer = train_tokenizer(pool.captions, folder)
    steps = train_clip(make_clip(tokenizer, 0), tokenizer, pool, of_clip)
    found = {"clip_row": _seconds_of_next_step(steps) / of_clip.batch_size}
    if not isinstance(of_generator, GeneratorSettings):
        return found
    images = scale_pixels(pool.images)
    vae = make_vae(0)
    steps = train_vae(vae, images, of_generator.vae, 0)
    found["vae_row"] = _seconds_of_next_step(steps) / of_generator.vae.batch_size
    model = make_clip(tokenizer, 0)
    states, rows = encode_captions(model.text_model, tokenizer, pool.captions)
    captioned = CaptionedLatents(encode_images(vae, images), states.clone(), rows)
    unet = make_unet(states.shape[-1], 0)
    scheduler = make_scheduler(of_generator.prediction)
    steps = train_unet(unet, scheduler, captioned, of_generator)
    found["unet_row"] = _seconds_of_next_step(steps) / of_generator.unet.batch_size
    return found


def _seconds_of_next_step(steps: Iterator[float]) -> float:
    return least_seconds(lambda: list(islice(steps, NUM_STEPS))) / NUM_STEPS
