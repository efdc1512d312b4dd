"""What params.yaml says about style inversion, sampling and the synthetic sets."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from synthbridge.core.settings import Settings

PositiveInt = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]

Sampler = Literal["ddpm", "dpm++", "euler", "euler_ancestral", "lcm"]
PromptKind = Literal["template", "dsi", "class_tokens", "oracle", "contextual", "stylised", "file"]
Tuned = Literal["dataset", "class"]  # the images that one LoRA learns from
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
    learning_rate: Annotated[float, Field(gt=0)]
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


class TuneSettings(Settings):
    """`tune` in params.yaml: how the generator learns a LoRA from real images.

    Published: DataDream (arXiv:2407.10910), as its authors' code runs it with 16 shots.
    """

    rank: PositiveInt  # of each change of a projection; published: 16
    alpha: PositiveInt  # a change counts alpha / rank; published: the rank
    # Steps for each class: so many for a class's own LoRA, and C times as many for that of a data
    # set of C classes. Published: 400 (200 epochs).
    steps_per_class: PositiveInt
    batch_size: PositiveInt  # images a step; published: 8
    # The peak: a warm-up of 100 steps, then a cosine to 0. Published: 1e-4, with that schedule.
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Seed


class SamplingSettings(Settings):
    """`generate` in params.yaml: how every synthetic set is drawn and cut into shards."""

    # ddpm: the paper's; dpm++: DPM-Solver++(2M), as good in fewer steps; euler, euler_ancestral and
    # lcm: what few-step models and flows are drawn with.
    sampler: Sampler
    num_steps: PositiveInt  # denoising steps an image; chosen: 50 with ddpm, 20-25 with dpm++
    # Of the steps, from the first on, that are guided (each costs two passes through the UNet):
    # 1 = all, as in the paper. With 0.6 an image of 20 steps takes a fifth less time.
    guided_fraction: Annotated[float, Field(ge=0, le=1)]
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
    # The generator is tuned on the set's shots (docs/tuned-generator.md): one LoRA for the data
    # set, or one for each class; null: it is as it came. The prompts stay those of the set.
    tuned: Tuned | None = None
    # Real Guidance (He et al., arXiv:2210.07574): images start from the set's shots with this
    # fraction of the noise, 1 = nothing of the shot is left; null: from noise alone. Paper: 0.15 /
    # 0.20 / 0.35 / 0.40 / 0.50 for 16 / 8 / 4 / 2 / 1 shots.
    image_strength: Annotated[float, Field(gt=0, le=1)] | None = None
    # Diff-Mix (arXiv:2403.19600): images start from shots of other classes, and their soft labels
    # say 1 - s^gamma of the start's class and s^gamma of the prompt's, s the image_strength. Null:
    # from their own class. Published: gamma 0.8, s 0.7 (its authors' code).
    mix_gamma: Annotated[float, Field(gt=0)] | None = None
    # What prompts call a class: its plain name, or, of the senses that the data set's lists give
    # an ambiguous name, the one that CLIP finds nearest to the real images that the set may see.
    class_names: Literal["plain", "disambiguated"] = "plain"
    superclass: Annotated[str, Field(min_length=1)] | None = None  # pet: "a cat, a type of pet"
    # In data/prompts, for `prompts: file`; {dataset} stands for the data set's name.
    prompt_file: str | None = Field(default=None, validate_default=True)
    # Real images a class that the set may see: its words are learned from them, the generator is
    # tuned on them, its images start from them, or its class names are chosen by them. A number,
    # 'full' (not to start from), or null (the set sees none).
    shots: int | Literal["full"] | None
    guidance_scale: Annotated[float, Field(ge=1)]  # w of eq. 1; 1 = no guidance; paper: 3.5
    images_per_class: PositiveInt  # paper: 1,000
    # Of each class, the fraction that trains; 1 = all.
    keep_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    cap: PositiveInt | None = None  # and at most so many of each class, as a retrieved set
    # Which ones: those that CLIP finds most like their class; those of which a classifier is least
    # sure (arXiv:2502.15588); or a random choice, the control of both.
    select: Literal["clip", "entropy", "random"] = "clip"
    # With entropy: the group below stage_one as which that classifier trains, on as many images as
    # are kept, chosen at random from what is drawn.
    scored_by: str | None = None

    @field_validator("tuned")
    @classmethod
    def _tune_alone(cls, tuned: Tuned | None, info: ValidationInfo) -> Tuned | None:
        """Keep to one thing that a set learns."""
        kind = info.data.get("prompts")
        if tuned is not None and kind in LEARNED:
            raise ValueError(
                f"{kind} prompts hold words that are learned for the generator as it came; leave "
                f"one of the two out, or choose prompts from {', '.join(WORDED)}, file"
            )
        return tuned

    @field_validator("image_strength")
    @classmethod
    def _start_from_noise(cls, strength: float | None, info: ValidationInfo) -> float | None:
        """Keep a tuned generator to images that start from noise."""
        if strength is not None and info.data.get("tuned") is not None:
            raise ValueError(
                "a tuned generator draws from noise alone; leave out image_strength, or tuned"
            )
        return strength

    @field_validator("mix_gamma")
    @classmethod
    def _mix_starts(cls, gamma: float | None, info: ValidationInfo) -> float | None:
        """Keep to images that start from real ones."""
        if gamma is not None and info.data.get("image_strength") is None:
            raise ValueError(
                "it mixes classes by the real images of others that images start from; give an "
                "image_strength, or leave it out"
            )
        return gamma

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
        tunes = "the generator is tuned on" if info.data.get("tuned") is not None else None
        taken = learns or tunes or ("class names are disambiguated by" if chooses else None)
        if taken and not is_count and shots != "full":
            raise ValueError(
                f"it should be the real images a class that {taken}; write a number above 0, or "
                "full"
            )
        is_known = kind is not None and "tuned" in info.data  # else they are refused already
        if is_known and not taken and strength is None and shots is not None:
            raise ValueError(
                f"a {kind} set sees no real image; write null, 'prompts: dsi', "
                "'tuned: dataset', or an image_strength"
            )
        return shots

    @model_validator(mode="after")
    def _selects_from_more(self) -> "SyntheticSettings":
        """Ask for what a selection needs, where there is one."""
        if self.select != "clip" and self.keep_fraction == 1 and self.cap is None:
            raise ValueError(
                f"select is {self.select}, which says what of each class trains, but keep_fraction "
                "is 1 and cap null, so that all does; lower keep_fraction, or give a cap"
            )
        if (self.select == "entropy") != (self.scored_by is not None):
            raise ValueError(
                "with 'select: entropy', and only there, scored_by names the group below stage_one "
                "as which the classifier trains; "
                + ("leave it out" if self.scored_by else "write scored_by: plain, say")
            )
        return self


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
