"""What params.yaml says of the upstream, the miniature or a hub's: section `upstream`."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from synthbridge.core.settings import ChosenBy, Settings


class PoolSettings(Settings):
    """`upstream.pool`: the captioned images that CLIP and the generator are trained on."""

    num_images: PositiveInt  # all classes together, each as often as the others
    images_per_shard: PositiveInt
    style_fraction: float = Field(ge=0, le=1)  # captions that name the image's style words
    seed: int = Field(ge=0)


class ClipSettings(Settings):
    """`upstream.clip`: the text and image towers, trained contrastively on the pool."""

    num_steps: PositiveInt
    batch_size: PositiveInt  # images a step; each is told apart from all others of its batch
    learning_rate: PositiveFloat  # peak of the one-cycle schedule
    seed: int = Field(ge=0)


class MiniatureTraining(Settings):
    """One training run: its length, its batch and its peak rate."""

    num_steps: PositiveInt
    batch_size: PositiveInt  # images a step
    learning_rate: PositiveFloat  # peak of the one-cycle schedule


class GeneratorSettings(Settings):
    """`upstream.generator`: the latent diffusion model, on the text tower of `clip`, frozen."""

    vae: MiniatureTraining
    unet: MiniatureTraining
    caption_dropout: float = Field(ge=0, lt=1)  # fraction of captions emptied, for guidance
    # What the UNet learns to say of a noised latent: the noise, as Stable Diffusion 1.5; v, as 2.1;
    # or the flow, as newer models. All train equally long, from the same draws.
    prediction: Literal["noise", "v", "flow"] = "noise"
    seed: int = Field(ge=0)


class BackboneSettings(Settings):
    """`upstream.backbone`: the classifier that every leg starts from, trained on letters."""

    model: str  # a timm architecture
    input_size: PositiveInt  # pixels a side that it sees; images of 16 are enlarged
    num_images: PositiveInt  # letters, each of the 26 as often as the others
    num_steps: PositiveInt
    batch_size: PositiveInt  # images a step
    learning_rate: PositiveFloat  # peak of the one-cycle schedule
    seed: int = Field(ge=0)


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ValueError("give owner/name, as the hub's address of the model ends")
    return text


def _timm_repository(text: str) -> str:
    if "/" not in text and not re.fullmatch(r"\w+\.\w+", text):
        raise ValueError(
            "give a timm name with its weights' tag (resnet50.a1_in1k) or a repository, owner/name"
        )
    return text if "/" not in text else _repository(text)


class HubModel(Settings):
    """`upstream.generator` or `upstream.clip` from the Hugging Face hub, at one commit."""

    hub: Annotated[str, AfterValidator(_repository)]  # owner/name
    # A commit, 40 hex digits. `python src pin` writes it; without it, or with a branch, no run.
    revision: str | None = None


def _weights_file(text: str) -> str:
    if not re.fullmatch(r"[\w./-]+\.safetensors", text) or ".." in text:
        raise ValueError(
            "name one .safetensors of the repository, as its list of files does: other weights can "
            "run code when read"
        )
    return text


class HubWeights(Settings):
    """`upstream.generator.weights`: a UNet or a LoRA of another repository, on top of the model."""

    hub: Annotated[str, AfterValidator(_repository)]
    revision: str | None = None  # as of HubModel
    file: Annotated[str, AfterValidator(_weights_file)]
    # How they were distilled, which decides the sampler: lcm (LCM, LCM-LoRA), lightning
    # (SDXL-Lightning), or null: not at all, as of a fine-tune in a style.
    distilled: Literal["lcm", "lightning"] | None


class HubGenerator(HubModel):
    """`upstream.generator` from the hub: as `HubModel`, perhaps with weights on top of it."""

    weights: HubWeights | None = None
    # false: not a few-step model, though its configurations look like one's (docs/generators.md).
    distilled: Literal[False] | None = None


class HubBackbone(Settings):
    """`upstream.backbone` from the hub: as `HubModel`, or a timm name with its weights' tag."""

    hub: Annotated[str, AfterValidator(_timm_repository)]
    revision: str | None = None


class BackboneFile(Settings):
    """`upstream.backbone` from a local safetensors file, with what such a file does not say."""

    file: str  # from the root of the repository, or absolute
    # Of its bytes, 64 hex digits: to the file what the commit is to a hub model.
    sha256: str | None = None
    model: str  # a timm architecture
    model_args: dict[str, bool | int | float | str]  # more arguments of it, or {}
    num_classes: PositiveInt  # of the head in the file
    input_size: PositiveInt  # pixels a side that it was trained with
    mean: list[float] = Field(min_length=3, max_length=3)  # of its pixels in 0..1: R, G, B
    std: list[PositiveFloat] = Field(min_length=3, max_length=3)


def _generator(values: Any) -> type[Settings]:
    return HubGenerator if isinstance(values, dict) and "hub" in values else GeneratorSettings


def _clip(values: Any) -> type[Settings]:
    return HubModel if isinstance(values, dict) and "hub" in values else ClipSettings


def _backbone(values: Any) -> type[Settings]:
    keys = values if isinstance(values, dict) else {}
    return HubBackbone if "hub" in keys else BackboneFile if "file" in keys else BackboneSettings


class UpstreamSettings(Settings):
    """`upstream`: the pool and the models that everything else starts from.

    A model is the miniature's, trained here, unless its group names a hub model or a file.
    """

    pool: PoolSettings | None  # null: not drawn
    clip: Annotated[ClipSettings | HubModel, ChosenBy(_clip)] | None  # null: not there
    # null: real images alone, with no synthetic set
    generator: Annotated[GeneratorSettings | HubGenerator, ChosenBy(_generator)] | None
    backbone: Annotated[BackboneSettings | HubBackbone | BackboneFile, ChosenBy(_backbone)]

    @model_validator(mode="after")
    def _miniatures_have_what_they_learn_from(self) -> "UpstreamSettings":
        if isinstance(self.generator, GeneratorSettings) and not isinstance(
            self.clip, ClipSettings
        ):
            has = "is null" if self.clip is None else f"is the hub's {self.clip.hub}"
            raise ValueError(
                "generator is the miniature's, which is trained on the text tower of the "
                f"miniature's clip, but clip {has}; give clip the miniature's settings, or name "
                "a hub model as generator too"
            )
        if isinstance(self.clip, ClipSettings) and self.pool is None:
            raise ValueError(
                "clip is the miniature's, which is trained on the pool, but pool is null; give "
                "pool its settings, or set clip to a hub model or null"
            )
        return self
