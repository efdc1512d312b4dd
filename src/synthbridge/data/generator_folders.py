"""Which text-to-image folders we can draw with, told by their configurations alone.

Asked twice: before a hub's gigabytes are downloaded (upstream), and before any folder is loaded
(diffusion). Neither of the two may import the other.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

INDEX = ".index.json"  # beside weights in pieces: which piece holds which tensor


@dataclass(frozen=True)
class Family:
    """The folder of one family, as diffusers saves it."""

    pipeline: str  # what model_index.json calls it
    name: str  # what people call it
    parts: tuple[str, ...]  # folders
    # Small text files, of which those called *.json at the top of a part must be there.
    configs: tuple[str, ...]
    optional: tuple[str, ...]  # small files that a release may leave out: of its tokenizers
    weights: tuple[str, ...]  # each whole, or in pieces with an index beside them
    check: Callable[[Path, str], None]  # (folder with the configs, name): raises ValueError
    may_lack: tuple[str, ...] = ()  # parts of which model_index.json may say that they are null

    def without(self, parts: Sequence[str]) -> "Family":
        """Return the same family without the files of some parts."""

        def left(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name.partition("/")[0] not in parts)

        return replace(
            self,
            parts=left(self.parts),
            configs=left(self.configs),
            optional=left(self.optional),
            weights=left(self.weights),
        )

    @property
    def indices(self) -> tuple[str, ...]:
        """The files that name the pieces, where weights come in pieces."""
        return tuple(weights + INDEX for weights in self.weights)


CLIP_TOKENIZER = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


def files_of(part: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of a part's files."""
    return tuple(f"{part}/{name}" for name in names)


def read_config(folder: Path, config: str, name: str | None = None) -> dict[str, Any]:
    """Read one of a folder's configurations.

    Args:
        folder: where it lies.
        config: its path in there.
        name: what the user calls the folder, for the error.

    Raises:
        ValueError: if it is no JSON of keys and values.
    """
    try:
        values = json.loads((folder / config).read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no text: a pointer of git lfs, say
        values = None
    if not isinstance(values, dict):
        raise ValueError(f"{config} of {name or folder} is damaged; fetch it again") from None
    return values


# --- Stable Diffusion 1.x and 2.x -----------------------------------------------------------------


def _check_stable_diffusion(folder: Path, name: str) -> None:
    """Refuse what draws from more than a prompt."""
    taken = read_config(folder, "unet/config.json", name).get("in_channels", 4)
    given = read_config(folder, "vae/config.json", name).get("latent_channels", 4)
    if taken != given:
        raise ValueError(
            f"{name} draws from {taken} channels and its VAE gives {given}: it needs more than a "
            "prompt (an image, a mask, a depth map), which is not supported; choose a generator "
            "that draws from prompts alone"
        )
    schedule = read_config(folder, "scheduler/scheduler_config.json", name)
    kind = str(schedule.get("_class_name"))
    if kind.startswith("EDM"):
        raise ValueError(
            f"{name} has the noise levels of {kind} (arXiv:2206.00364), which are not supported; "
            "choose a generator whose scheduler has betas"
        )
    prediction = schedule.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "flow_prediction"):
        raise ValueError(
            f"{name} predicts {prediction}, which is not supported; choose one that predicts the "
            "noise (epsilon), v_prediction or flow_prediction"
        )
    if prediction == "epsilon" and schedule.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"{name} begins at noise alone (rescale_betas_zero_snr), of which a prediction of the "
            "noise says nothing; set it to false, or choose a generator of v_prediction"
        )


STABLE_DIFFUSION = Family(
    pipeline="StableDiffusionPipeline",
    name="Stable Diffusion 1.x and 2.x",
    parts=("tokenizer", "text_encoder", "unet", "vae", "scheduler"),
    configs=(
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
    ),
    optional=files_of("tokenizer", CLIP_TOKENIZER),
    weights=(
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    check=_check_stable_diffusion,
)


LATENT_CONSISTENCY = replace(
    STABLE_DIFFUSION, pipeline="LatentConsistencyModelPipeline", name="LCM of Stable Diffusion 1.x"
)


# --- Stable Diffusion XL --------------------------------------------------------------------------


def _check_sdxl(folder: Path, name: str) -> None:
    """Refuse what draws from more than a prompt, or was made of other parts than SDXL."""
    _check_stable_diffusion(folder, name)
    unet = read_config(folder, "unet/config.json", name)
    kind = unet.get("addition_embed_type")
    if kind != "text_time":
        raise ValueError(
            f"the UNet of {name} takes {kind or 'nothing'} beside its prompts, and SDXL's is told "
            "sizes (text_time); choose an SDXL in diffusers' layout"
        )
    pooled = read_config(folder, "text_encoder_2/config.json", name).get("projection_dim", 512)
    expected = 6 * (unet.get("addition_time_embed_dim") or 0) + pooled
    if unet.get("projection_class_embeddings_input_dim") != expected:
        raise ValueError(
            f"the UNet of {name} does not fit its second text encoder and six sizes "
            f"({unet.get('projection_class_embeddings_input_dim')} numbers, not {expected}): it "
            "is a refiner or an edit model; choose a base model, such as "
            "stabilityai/stable-diffusion-xl-base-1.0"
        )
    if read_config(folder, "vae/config.json", name).get("latents_mean"):
        raise ValueError(
            f"the VAE of {name} shifts its latents (latents_mean), which is not supported; choose "
            "an SDXL with SDXL's own VAE"
        )


SDXL = Family(
    pipeline="StableDiffusionXLPipeline",
    name="Stable Diffusion XL",
    parts=(
        *("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"),
        *("unet", "vae", "scheduler"),
    ),
    configs=(*STABLE_DIFFUSION.configs, "text_encoder_2/config.json"),
    optional=(*STABLE_DIFFUSION.optional, *files_of("tokenizer_2", CLIP_TOKENIZER)),
    weights=(*STABLE_DIFFUSION.weights, "text_encoder_2/model.safetensors"),
    check=_check_sdxl,
)


# --- flow matching --------------------------------------------------------------------------------

LARGE_TOKENIZER = (  # of T5 and Qwen, without what sentencepiece reads
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
)


def _check_flow(folder: Path, name: str, channels_per_latent: int = 1) -> None:
    """Refuse what draws from more than a prompt, or is sampled by other means than Euler's.

    Args:
        folder: holds the configurations.
        name: what the user calls it.
        channels_per_latent: what the transformer takes for each channel of the VAE's latents.
    """
    taken = read_config(folder, "transformer/config.json", name).get("in_channels")
    given = read_config(folder, "vae/config.json", name).get("latent_channels")
    if isinstance(given, int) and taken not in (None, channels_per_latent * given):
        raise ValueError(
            f"{name} draws from {taken} channels and its VAE gives {given}, where it should be "
            f"{channels_per_latent} for each: it needs more than a prompt (an image, a mask), "
            "which is not supported; choose a generator that draws from prompts alone"
        )
    schedule = read_config(folder, "scheduler/scheduler_config.json", name)
    kind = schedule.get("_class_name")
    if kind != "FlowMatchEulerDiscreteScheduler":
        raise ValueError(
            f"{name} is sampled by a {kind}, which is not supported; choose a release with "
            "FlowMatchEulerDiscreteScheduler"
        )
    for setting in ("stochastic_sampling", "invert_sigmas"):
        if schedule.get(setting):
            raise ValueError(
                f"{name} is sampled with {setting}, which is not supported; set it to false in "
                "scheduler/scheduler_config.json, or choose another generator"
            )


def _check_packed(folder: Path, name: str) -> None:
    """Do as `_check_flow` where 2 x 2 latents are one token of the transformer."""
    _check_flow(folder, name, channels_per_latent=4)


def _flow_family(
    pipeline: str,
    name: str,
    *,
    clips: Sequence[str] = (),
    large: Sequence[str] = (),
    check: Callable[[Path, str], None] = _check_flow,
    may_lack: tuple[str, ...] = (),
) -> Family:
    """Describe a folder with a transformer, a VAE and text encoders.

    Args:
        pipeline: what model_index.json calls it.
        name: what people call it.
        clips: the endings of its CLIP's parts ("", "_2").
        large: those of its language models.
        check: what its configurations must say.
        may_lack: parts that it can do without.
    """
    ends = (*clips, *large)
    encoders = tuple(f"text_encoder{end}" for end in ends)
    models = ("transformer", "vae")
    optional = [files_of(f"tokenizer{end}", CLIP_TOKENIZER) for end in clips]
    optional += [files_of(f"tokenizer{end}", LARGE_TOKENIZER) for end in large]
    return Family(
        pipeline=pipeline,
        name=name,
        parts=(*(f"tokenizer{end}" for end in ends), *encoders, *models, "scheduler"),
        configs=(
            "model_index.json",
            "scheduler/scheduler_config.json",
            *(f"tokenizer{end}/tokenizer.json" for end in large),
            *(f"{part}/config.json" for part in (*encoders, *models)),
        ),
        optional=tuple(file for files in optional for file in files),
        weights=(
            *(f"{part}/model.safetensors" for part in encoders),
            *(f"{part}/diffusion_pytorch_model.safetensors" for part in models),
        ),
        check=check,
        may_lack=may_lack,
    )


STABLE_DIFFUSION_3 = _flow_family(
    "StableDiffusion3Pipeline",
    "Stable Diffusion 3 and 3.5",
    clips=("", "_2"),
    large=("_3",),
    may_lack=("tokenizer_3", "text_encoder_3"),
)
FLUX = _flow_family("FluxPipeline", "FLUX.1", clips=("",), large=("_2",), check=_check_packed)
FLUX_2_KLEIN = _flow_family("Flux2KleinPipeline", "FLUX.2 klein", large=("",), check=_check_packed)
Z_IMAGE = _flow_family("ZImagePipeline", "Z-Image", large=("",))


# --- all of them ----------------------------------------------------------------------------------

KNOWN = (
    *(STABLE_DIFFUSION, LATENT_CONSISTENCY, SDXL),
    *(STABLE_DIFFUSION_3, FLUX, FLUX_2_KLEIN, Z_IMAGE),
)
FAMILIES = {family.pipeline: family for family in KNOWN}


def check_configs(folder: Path, name: str) -> Family:
    """Refuse what is of no family that we read, in diffusers' layout.

    Args:
        folder: holds the configurations of all parts; weights need not be there yet.
        name: what the user calls it, for the errors.

    Returns:
        The family that it is of.

    Raises:
        ValueError: a sentence that names what it is instead.
    """
    if not (folder / "model_index.json").is_file():
        raise ValueError(
            f"{name} is no generator in diffusers' layout: it has no model_index.json; name the "
            f"folder or the repository that holds it and {', '.join(STABLE_DIFFUSION.parts)}"
        )
    index = read_config(folder, "model_index.json", name)
    kind = index.get("_class_name")
    family = FAMILIES.get(str(kind))
    if family is None:
        known = ", ".join(family.name for family in FAMILIES.values())
        why = "diffusers has and we do not" if _diffusers_has(kind) else "we do not know"
        raise ValueError(f"{name} is a {kind}, which {why}; choose a generator of these: {known}")
    if lacks := [part for part in family.may_lack if index.get(part) == [None, None]]:
        family = family.without(lacks)
    missing = [part for part in family.parts if not (folder / part).is_dir()]
    missing = missing or [config for config in family.configs if not (folder / config).is_file()]
    if missing:
        raise ValueError(
            f"{name} is no whole {family.pipeline} in diffusers' layout: it has no "
            f"{', '.join(missing)}; name the folder that holds {', '.join(family.parts)}"
        )
    family.check(folder, name)
    return family


def _diffusers_has(kind: object) -> bool:
    """Say whether the installed diffusers names a class `kind`, without importing it."""
    spec = find_spec("diffusers")
    if spec is None or spec.origin is None:
        return False
    return f'"{kind}"' in Path(spec.origin).read_text(encoding="utf-8")


def pieces(folder: Path, weights: str) -> list[str]:
    """Return the files that hold `weights`: itself, or the pieces that the index beside it names.

    Raises:
        ValueError: if the index is damaged.
    """
    if not (folder / (weights + INDEX)).is_file():
        return [weights]
    part = weights.rpartition("/")[0]
    names = read_config(folder, weights + INDEX).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{weights}{INDEX} of {folder} is damaged; fetch it again")
    return sorted({f"{part}/{name}" for name in names.values()})


def check_weights(folder: Path, family: Family) -> None:
    """Refuse a folder without safetensors.

    Raises:
        ValueError: which file it lacks.
    """
    for weights in family.weights:
        for piece in pieces(folder, weights):
            if not (folder / piece).is_file():
                part, name = piece.rsplit("/", 1)
                raise ValueError(
                    f"{folder / part} has no {name}, and other weights can run code when read; "
                    "take a release with safetensors, or convert it once with diffusers' "
                    "save_pretrained"
                )
