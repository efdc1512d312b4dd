"""Settings of the data sets: the groups below `data` in params.yaml."""

from pydantic import Field

from synthbridge.settings import Settings


class DatasetSettings(Settings):
    """`data.<dataset>` in params.yaml: a real data set and how it is split."""

    source: str  # what reads it: a name of synthbridge.data.loading.SOURCES
    flip: bool  # may an image be mirrored? no for anything that reads like writing
    validation_per_class: int = Field(ge=1)  # held out of train, to select learning rates on
    seed: int = Field(ge=0)  # draws validation and the few-shot rankings
