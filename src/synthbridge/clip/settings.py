"""Settings of CLIP classifier tuning: `clip_tuning` in params.yaml."""

from pydantic import Field

from synthbridge.settings import Settings


class ClipTuningSettings(Settings):
    """`clip_tuning` in params.yaml: a linear classifier on CLIP's frozen image encoder."""

    sets: list[str]  # of `sets`, those that clip_mixed and clip_bridged tune on; or none
    num_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)  # AdamW's peak; cosine decay, no warm-up
    weight_decay: float = Field(ge=0)
    real_batch_size: int = Field(ge=1)  # real images a gradient step
    synthetic_batch_size: int = Field(ge=1)  # synthetic images a gradient step
