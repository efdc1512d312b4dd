"""What params.yaml says about style inversion, sampling and the synthetic sets."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator

from synthbridge.core.settings import Settings

PositiveInt = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]

Sampler = Literal["ddpm", "dpm++", "euler", "euler_ancestral", "lcm"]
PromptKind = Literal["template", "dsi", "class_tokens", "oracle", "contextual", "stylised", "file"]
LEARNED = ("dsi", "class_tokens", "oracle")  # their prompts hold words learned from real images
WORDED = ("template", "contextual", "stylised")  # prompts that we write around a class's name


class InversionSettings(Settings):
    """`invert` in params.yaml: how the style token is learned."""

    # The word of the prompts that the style token stands for, such as <style>.
    placeholder: str
    initial_word: str  # the style token starts as this word's embedding; one token
    num_steps: PositiveInt  # paper: 20,000
    batch_size: PositiveInt  # images a step, each of a class drawn at random
    # AdamW, constant. Chosen: 5e-4 x batch_size (diffusers' textual inversion).
    learning_rate: Annotated[FiniteFloat, Field(gt=0)]
    samples_per_class: PositiveInt  # images of each class in the grid of samples
    compile: bool = False  # as of `generate`, while it learns
    seed: Seed

    @field_validator("placeholder")
    @classmethod
    def _look_like_no_word(cls, placeholder: str) -> str:
        """Keep to what every tokenizer leaves in one piece."""
        if not re.fullmatch("<[a-z0-9-]+>", placeholder):
            raise ValueError(
                "it should look like <style>: small letters, digits and hyphens between < and >"
            )
        return placeholder


class SamplingSettings(Settings):
    """`generate` in params.yaml: how every synthetic set is drawn and cut into shards."""

    # ddpm: the paper's; dpm++: DPM-Solver++(2M), as good in fewer steps; euler, euler_ancestral and
    # lcm: what few-step models and flows are drawn with.
    sampler: Sampler
    num_steps: PositiveInt  # denoising steps an image; chosen: 50 with ddpm, 20-25 with dpm++
    # Of the steps, from the first on, that are guided (each costs two passes through the UNet):
    # 1 = all, as in the paper. With 0.6 an image of 20 steps takes a fifth less time.
    guided_fraction: Annotated[FiniteFloat, Field(ge=0, le=1)]
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    # torch's compiler fuses the UNet's operations: faster once it has compiled, and rounded
    # otherwise (docs/benchmarks.md).
    compile: bool = False
    images_per_block: PositiveInt  # a block is this range of image indices in every class
    classes_per_shard: PositiveInt  # a shard holds one block's images of so many classes
    seed: Seed  # an image's own seed is made of this, its class and its index


class SyntheticSettings(Settings):
    """One named set below `synthetic` in params.yaml."""

    # template: the 27 templates; dsi: the style prompt with the style token; class_tokens, oracle:
    # a learned word in the place of each class's name (docs/learned-prompts.md); contextual,
    # stylised: composed from the data set's lists; file: a person's own (docs/prompts.md).
    prompts: PromptKind
    # Real Guidance (He et al., arXiv:2210.07574): images start from the set's shots with this
    # fraction of the noise, 1 = nothing of the shot is left; null: from noise alone. Paper: 0.15 /
    # 0.20 / 0.35 / 0.40 / 0.50 for 16 / 8 / 4 / 2 / 1 shots.
    image_strength: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    # What prompts call a class: its plain name, or, of the senses that the data set's lists give
    # an ambiguous name, the one that CLIP finds nearest to the real images that the set may see.
    class_names: Literal["plain", "disambiguated"] = "plain"
    superclass: Annotated[str, Field(min_length=1)] | None = None  # pet: "a cat, a type of pet"
    # In data/prompts, for `prompts: file`; {dataset} stands for the data set's name.
    prompt_file: str | None = Field(default=None, validate_default=True)
    # Real images a class that the set may see: its words are learned from them, its images start
    # from them, or its class names are chosen by them. A number, 'full' (not to start from), or
    # null (the set sees none).
    shots: int | Literal["full"] | None
    guidance_scale: Annotated[FiniteFloat, Field(ge=1)]  # w of eq. 1; 1 = no guidance; paper: 3.5
    images_per_class: PositiveInt  # paper: 1,000
    # Of each class, the fraction that trains: the images that CLIP finds most like it; 1 = all.
    keep_fraction: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    cap: PositiveInt | None = None  # and at most so many of each class, as a retrieved set

    @field_validator("class_names", "superclass")
    @classmethod
    def _fit_words(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Keep to prompts that are written around the class's name."""
        kind = info.data.get("prompts", "template")
        if value not in (None, "plain") and kind not in WORDED:
            raise ValueError(
                f"{kind} prompts take class names as they are; leave it out, or choose prompts "
                f"from {', '.join(WORDED)}"
            )
        return value

    @field_validator("prompt_file")
    @classmethod
    def _fit_file(cls, name: str | None, info: ValidationInfo) -> str | None:
        """Ask for a file where prompts come from one, and keep it where DVC sees its changes."""
        if "prompts" not in info.data:  # refused already
            return name
        if (name is None) == (info.data["prompts"] == "file"):
            raise ValueError(
                "with 'prompts: file', and only there, it names the file of prompts; "
                + ("give its name" if name is None else "leave it out")
            )
        if name is not None and not re.fullmatch(r"[^/\\]+\.(yaml|yml|json)", name):
            raise ValueError(
                "it should be the name of a file in data/prompts, where DVC sees its changes: "
                "mine.yaml or mine.json"
            )
        return name

    @field_validator("shots", mode="before")
    @classmethod
    def _fit_shots(cls, shots: Any, info: ValidationInfo) -> Any:
        """Ask for shots where a set takes something from real images, and only there."""
        kind, strength = info.data.get("prompts"), info.data.get("image_strength")
        chooses = info.data.get("class_names") == "disambiguated"
        is_count = isinstance(shots, int) and not isinstance(shots, bool) and shots > 0
        if strength is not None and not is_count:
            raise ValueError(
                "with image_strength it should be the real images a class that images start from; "
                "write a number above 0, or leave image_strength out"
            )
        learns = "the set's words are learned from" if kind in LEARNED else None
        taken = learns or ("class names are disambiguated by" if chooses else None)
        if taken and not is_count and shots != "full":
            raise ValueError(
                f"it should be the real images a class that {taken}; write a number above 0, or "
                "full"
            )
        if kind and not taken and strength is None and shots is not None:
            raise ValueError(
                f"a {kind} set sees no real image; write null, 'prompts: dsi', or an image_strength"
            )
        return shots


def count_steps(num_steps: int, image_strength: float | None) -> int:
    """Return how many of `num_steps` denoising steps an image takes: fewer from a real image.

    As diffusers' StableDiffusionImg2ImgPipeline counts them: whole steps, rounded down.

    Raises:
        ValueError: if none is left.
    """
    left = num_steps if image_strength is None else int(num_steps * image_strength)
    if left < 1:
        raise ValueError(
            f"image_strength {image_strength} of {num_steps} denoising steps leaves none; raise it "
            f"to {1 / num_steps:.2g} or more, or raise generate.num_steps"
        )
    return left
