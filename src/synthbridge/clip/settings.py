"""What params.yaml says about retrieved sets and about CLIP classifier tuning."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from synthbridge.core.settings import Settings

Text = Annotated[str, Field(min_length=1)]


class RetrievedSettings(Settings):
    """One named set below `retrieved` in params.yaml: real images of a pool, found by class name.

    docs/retrieval.md says how the steps follow each other.
    """

    # caption: the class name stands in the caption; clip: CLIP finds the image near the class.
    search: Literal["caption", "clip"]
    # Images that one query may find: 500 for each template of clip (paper), null for all.
    candidates: PositiveInt | None
    keep_fraction: Annotated[float, Field(gt=0, le=1)]  # best of each class; paper: 0.3
    cap: PositiveInt  # and at most so many of each class; paper: 10,000
    # Cosine of CLIP embeddings above which an image shows the same as a test image; 1: none does.
    duplicates_above: Annotated[float, Field(gt=0, le=1)]
    images_per_class: PositiveInt  # the best of those that are kept
    pool: Text | None = None  # a folder; null: the upstream's, which the generator was trained on
    # What a class is called in captions, where its name is not: {class name: [words, ...]}.
    queries: dict[Text, Annotated[list[Text], Field(min_length=1)]] = Field(default={})
    index: Text | None = None  # a folder with the pool's image index, made before

    @property
    def shots(self) -> None:
        """A retrieved set sees no labelled image."""
        return None

    @model_validator(mode="after")
    def _clip_ends_somewhere(self) -> "RetrievedSettings":
        if self.search == "clip" and self.candidates is None:
            raise ValueError(
                "candidates is null, but every image of a pool resembles a query somewhat; "
                "give the number that one query may find (paper: 500)"
            )
        return self


class ClipTuningSettings(Settings):
    """`clip_tuning` in params.yaml: a linear classifier on CLIP's frozen image encoder."""

    sets: list[str]  # of `sets`, those that clip_mixed and clip_bridged tune on; or none
    num_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)  # AdamW's peak; cosine decay, no warm-up
    weight_decay: float = Field(ge=0)
    real_batch_size: int = Field(ge=1)  # real images a gradient step
    synthetic_batch_size: int = Field(ge=1)  # synthetic images a gradient step
