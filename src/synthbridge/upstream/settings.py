"""What params.yaml says of the miniature upstream: section `upstream`."""

from pydantic import Field, PositiveFloat, PositiveInt

from synthbridge.settings import Settings


class PoolSettings(Settings):
    """`upstream.pool`: the captioned images that CLIP and the generator are trained on."""

    num_images: PositiveInt  # all classes together, each as often as the others
    images_per_shard: PositiveInt
    style_share: float = Field(ge=0, le=1)  # captions that name the image's style words
    seed: int = Field(ge=0)


class ClipSettings(Settings):
    """`upstream.clip`: the text and image towers, trained contrastively on the pool."""

    num_steps: PositiveInt
    batch_size: PositiveInt  # images a step; each is told apart from all others of its batch
    learning_rate: PositiveFloat  # peak of the one-cycle schedule
    seed: int = Field(ge=0)


class TrainingSettings(Settings):
    """One training run: its length, its batch and its peak rate."""

    num_steps: PositiveInt
    batch_size: PositiveInt  # images a step
    learning_rate: PositiveFloat  # peak of the one-cycle schedule


class GeneratorSettings(Settings):
    """`upstream.generator`: the latent diffusion model, on the text tower of `clip`, frozen."""

    vae: TrainingSettings
    unet: TrainingSettings
    caption_dropout: float = Field(ge=0, lt=1)  # share of captions emptied, for guidance
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


class UpstreamSettings(Settings):
    """`upstream`: the pool and the models that everything else starts from."""

    pool: PoolSettings
    clip: ClipSettings
    generator: GeneratorSettings
    backbone: BackboneSettings
