"""What a source of real images gives: labelled images with the split that they came with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RealImage:
    """One labelled image before it is put into a shard."""

    name: str  # unique and lasting: where the source keeps it
    read: Callable[[], bytes]  # returns the encoded image; called once, when its shard is written
    extension: str  # "png" or "jpg": how `read` encodes it
    label: int  # index into the class names


@dataclass(frozen=True)
class RealDataset:
    """A data set with the split that its authors or we gave it."""

    class_names: tuple[str, ...]  # as prompts name them; a class is its index here
    image_size: int  # pixels, the shorter side
    train: Sequence[RealImage]
    test: Sequence[RealImage]
    validation: Sequence[RealImage] | None = None  # None: held out of train
