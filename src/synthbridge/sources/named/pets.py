"""Oxford-IIIT Pets (Parkhi et al. 2012), as in `images.tar.gz` and `annotations.tar.gz`."""

from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_pairs, readable


def list_pets(raw: Path) -> Listing:
    """List trainval and test by breed.

    Class ids start at 1 and follow the alphabet whatever the case; file names do not, since their
    first letter is large for cats and small for dogs. The image folder holds more than is listed
    (MATLAB files, images without annotation), so only the lists count.
    """
    breeds: dict[int, str] = {}
    train = _read_list(raw / "annotations/trainval.txt", breeds)
    test = _read_list(raw / "annotations/test.txt", breeds)
    classes = {key: readable(breeds[key]) for key in sorted(breeds)}
    return Listing(classes, train, test)


def _read_list(path: Path, breeds: dict[int, str]) -> list[tuple[str, int]]:
    """Read lines such as `american_bulldog_100 2 2 1`: image, class, species, breed in species."""
    images = []
    for image, ids in read_pairs(path):
        breed, key = image.rpartition("_")[0], ids.partition(" ")[0]
        if not key.isdigit() or breeds.setdefault(int(key), breed) != breed:
            raise ValueError(
                f"{path}: the line '{image} {ids}' has no class id, or one of another breed; "
                f"{UNPACK_AGAIN}"
            )
        images.append((f"images/{image}.jpg", int(key)))
    return images
