"""CUB-200-2011 (Wah et al. 2011), as in `CUB_200_2011.tgz`."""

from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_pairs, readable


def list_cub(raw: Path) -> Listing:
    """List the split of `train_test_split.txt`; images and classes are known by ids from 1."""
    folder = raw / "CUB_200_2011"
    classes = {
        key: readable(name.partition(".")[2])  # "001.Black_footed_Albatross"
        for key, name in read_pairs(folder / "classes.txt")
    }
    class_of = dict(read_pairs(folder / "image_class_labels.txt"))
    is_train = dict(read_pairs(folder / "train_test_split.txt"))
    splits: dict[str, list[tuple[str, str]]] = {"0": [], "1": []}
    for image, path in read_pairs(folder / "images.txt"):
        if image not in class_of or is_train.get(image) not in splits:
            raise ValueError(
                f"{folder}: image {image} ({path}) has no class or no split; {UNPACK_AGAIN}"
            )
        splits[is_train[image]].append((f"CUB_200_2011/images/{path}", class_of[image]))
    return Listing(classes, train=splits["1"], test=splits["0"])
