"""The data sets by name as sources: what their authors list, checked, as labelled images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.dataset import RealDataset, RealImage
from synthbridge.sources.named.aircraft import list_aircraft
from synthbridge.sources.named.caltech101 import list_caltech101
from synthbridge.sources.named.cars import list_cars
from synthbridge.sources.named.checks import check_listing
from synthbridge.sources.named.cub import list_cub
from synthbridge.sources.named.dogs import list_dogs
from synthbridge.sources.named.dtd import list_dtd
from synthbridge.sources.named.facts import PUBLISHED, Published
from synthbridge.sources.named.flowers import list_flowers
from synthbridge.sources.named.food import list_food
from synthbridge.sources.named.imagenet import list_imagenet_100
from synthbridge.sources.named.listing import Key, Listing
from synthbridge.sources.named.pets import list_pets
from synthbridge.sources.named.sun397 import list_sun397

READERS: dict[str, Callable[[Path], Listing]] = {
    "aircraft": list_aircraft,
    "caltech101": list_caltech101,
    "cars": list_cars,
    "cub": list_cub,
    "dogs": list_dogs,
    "dtd": list_dtd,
    "flowers": list_flowers,
    "food": list_food,
    "imagenet_100": list_imagenet_100,
    "pets": list_pets,
    "sun397": list_sun397,
}


def load_named(settings: DatasetSettings, raw: Path, *, name: str) -> RealDataset:
    """Load a data set from its authors' files in `raw`, in the official split.

    The settings decide no more than the size: the order of classes and the split are the same for
    all.

    Raises:
        ValueError: if a file is missing or damaged, or a count differs from the table.
    """
    return replace(load_listed(READERS[name], raw, PUBLISHED[name]), image_size=settings.max_side)


def load_listed(
    read_listing: Callable[[Path], Listing], raw: Path, facts: Published
) -> RealDataset:
    """Read a listing from the files in `raw`, check it and make labelled images of it.

    Raises:
        ValueError: if a file is missing or damaged, or the listing does not fit `facts`.
    """
    try:
        listing = read_listing(raw)
    except FileNotFoundError as error:
        raise ValueError(
            f"{error.filename} is missing: nothing downloads {facts.title} by itself; fetch "
            f"{facts.files}, and put what they hold, unpacked, into {raw}"
        ) from None
    check_listing(listing, raw, facts)
    labels = {key: label for label, key in enumerate(listing.classes)}

    def images(listed: Sequence[tuple[str, Key]]) -> list[RealImage]:
        return [
            RealImage(path, partial(listing.read, raw / path), labels[key]) for path, key in listed
        ]

    return RealDataset(
        class_names=tuple(listing.classes.values()),
        image_size=None,
        train=images(listing.train),
        test=images(listing.test),
        class_keys=tuple(str(key) for key in listing.classes),
    )


NAMED_SOURCES = {name: partial(load_named, name=name) for name in READERS}
