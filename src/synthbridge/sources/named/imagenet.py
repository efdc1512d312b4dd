"""ImageNet-100 by the list of its authors, and the test sets from other domains that fit it.

ImageNet-100 is the 100 classes of ILSVRC 2012 that CMC (Tian et al., arXiv:1906.05849) lists in
imagenet100.txt (github.com/HobbitLong/CMC). imagenet_100.txt beside this has them in the order of
their ids, each with the first of its WordNet names; imagenet_1000.txt has the ids of all classes of
ILSVRC 2012, whose order gives a class its index.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthbridge.data.found_files import list_folder
from synthbridge.sources.named.listing import Listing, read_lines, read_pairs

HERE = Path(__file__).parent


@dataclass(frozen=True)
class OutOfDomain:
    """A published test set of ImageNet's classes, or of some of them."""

    folder: str  # what its archive unpacks to: a folder a class
    files: str  # what to fetch, and where: a phrase that follows "fetch"
    by_index: bool = False  # the class folders are 0 to 999; else synset ids


# By the name that `extra_test` gives them.
OUT_OF_DOMAIN = {
    "imagenet_v2": OutOfDomain(  # arXiv:1902.10811
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2-matched-frequency.tar.gz from https://imagenetv2.org",
        by_index=True,
    ),
    "imagenet_r": OutOfDomain(  # arXiv:2006.16241; 200 classes
        "imagenet-r", "imagenet-r.tar from https://github.com/hendrycks/imagenet-r"
    ),
    "imagenet_sketch": OutOfDomain(  # arXiv:1905.13549
        "sketch", "ImageNet-Sketch.zip from https://github.com/HaohanWang/ImageNet-Sketch"
    ),
    "imagenet_a": OutOfDomain(  # arXiv:1907.07174; 200 classes
        "imagenet-a", "imagenet-a.tar from https://github.com/hendrycks/natural-adv-examples"
    ),
}


def list_imagenet_100(raw: Path) -> Listing:
    """List train/SYNSET and val/SYNSET, which is the test split, of the 100 classes.

    Raises:
        FileNotFoundError: if a class has no folder.
    """
    classes = dict(read_pairs(HERE / "imagenet_100.txt"))
    train, test = (
        [
            (path.relative_to(raw).as_posix(), synset)
            for synset in classes
            for path in list_folder(raw / split / synset)
        ]
        for split in ("train", "val")
    )
    return Listing(classes, train, test)


def class_folders(published: OutOfDomain, labels: Mapping[str, int]) -> dict[str, int]:
    """Return the class folders that a set may have, by name, with the labels of our classes.

    Args:
        published: the set.
        labels: of our classes, by synset id.
    """
    if not published.by_index:
        return dict(labels)
    synsets = read_lines(HERE / "imagenet_1000.txt")
    return {str(i): labels[synset] for i, synset in enumerate(synsets) if synset in labels}
