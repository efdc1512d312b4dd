"""What a source of real images gives: labelled images with the split that they came with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RealImage:
    """One labelled image before it is put into a shard."""

    name: str  # unique and lasting: where the source keeps it
    read: Callable[[], bytes]  # returns the image file's bytes, of any format; called twice
    label: int  # index into the class names


@dataclass(frozen=True)
class RealDataset:
    """A data set with the split that its authors or we gave it."""

    class_names: tuple[str, ...]  # as prompts name them; a class is its index here
    image_size: int | None  # pixels, the shorter side; None: as the images are
    train: Sequence[RealImage]
    test: Sequence[RealImage]
    validation: Sequence[RealImage] | None = None  # None: held out of train
    class_keys: tuple[str, ...] | None = None  # as the source names its classes (folder, label)
    leave_out_copies: bool = False  # train loses images that occur twice; a published split keeps
    extra_test: Sequence[RealImage] | None = None  # of the same classes, from another domain

    def splits(self) -> dict[str, Sequence[RealImage]]:
        """Return the splits that were given, by name."""
        validation = {} if self.validation is None else {"validation": self.validation}
        extra = {} if self.extra_test is None else {"extra_test": self.extra_test}
        return {"train": self.train, **validation, "test": self.test, **extra}
