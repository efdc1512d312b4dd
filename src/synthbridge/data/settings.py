"""Settings of the data sets: the groups below `data` in params.yaml, and hub.yaml."""

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from synthbridge.core.settings import Settings

# Stands here beside loading.SOURCES, so that a wrong name is refused before any stage runs.
Source = Literal[
    "csv",
    "digits",
    "folder",
    "huggingface",
    "webdataset",
    "aircraft",
    "caltech101",
    "cars",
    "cub",
    "dogs",
    "dtd",
    "flowers",
    "food",
    "imagenet_100",
    "pets",
    "sun397",
]
OWN_DATA = ("csv", "folder", "huggingface", "webdataset")  # forms of data that no author split


class DatasetSettings(Settings):
    """`data.<dataset>` in params.yaml: a real data set and how it is split."""

    source: Source  # what reads it
    flip: bool  # may an image be mirrored? no for anything that reads like writing
    validation_per_class: int = Field(ge=1)  # held out of train, to select learning rates on
    seed: int = Field(ge=0)  # draws validation, test and the few-shot rankings
    # The two that follow are for one's own data; None where a data set does not need them.
    test_per_class: int | None = Field(default=None, ge=1)  # held out where no test split is given
    max_side: int | None = Field(default=None, ge=1)  # pixels; a longer shorter side is reduced
    # What tells which images belong together (docs/own-data.md): a level of folders inside the
    # classes (source folder alone), a regular expression in their paths, the minute in which a
    # camera took them, or that they look alike. Files may name groups themselves instead.
    group_by: Literal["folder", "regex", "exif-minute", "alike"] | None = None
    group_regex: str | None = None  # for group_by: regex; its first (...), or all that it finds
    # Train becomes long-tailed: the first class keeps so many times the images of the last one,
    # with an exponential profile between them. 1: as it is.
    imbalance: float = Field(default=1.0, ge=1)
    # A second test set, out of domain: a folder of class folders below data/raw/NAME; for classes
    # of ImageNet also imagenet_v2, _r, _sketch, _a (sources/named/imagenet.py); for the digits
    # `corrupted`, a stand-in made of their own test images. None: there is none.
    extra_test: str | None = None

    @field_validator("group_by")
    @classmethod
    def _of_own_data(cls, group_by: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if group_by is None or source is None:  # None: refused itself
            return group_by
        if source not in OWN_DATA:
            raise ValueError(f"source {source} has the groups of its authors; remove the line")
        if group_by == "folder" and source != "folder":
            raise ValueError(
                f"source {source} has no folders of groups; name groups in its files, choose "
                "regex, exif-minute or alike, or remove the line"
            )
        return group_by

    @field_validator("group_regex")
    @classmethod
    def _compiles(cls, regex: str | None) -> str | None:
        try:
            re.compile(regex or "")
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error}); correct it") from None
        return regex

    @model_validator(mode="after")
    def _regex_is_used(self) -> "DatasetSettings":
        if (self.group_by == "regex") != (self.group_regex is not None):
            raise ValueError("group_by: regex and group_regex go together; write both or none")
        return self

    @field_validator("extra_test")
    @classmethod
    def _one_folder(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[\w-]+", name):
            raise ValueError(
                "name one folder below the data set's raw folder, of letters, digits, _ and -"
            )
        return name


class HubDataset(Settings):
    """`hub.yaml` in the raw folder of a data set with source `huggingface`."""

    id: str  # "owner/name", or a folder relative to the raw folder
    revision: str | None = None  # the commit, 40 hex digits; None for a folder alone
    config: str | None = None  # the data set's own subset, where it has several
    image: str = "image"  # the column of images
    label: str = "label"  # the column of classes
    group: str | None = None  # the column of groups; None: `group`, if there is one
    train: str = "train"  # the data set's names for the splits
    validation: str | None = None  # None: held out of train
    test: str | None = None  # None: held out of train
