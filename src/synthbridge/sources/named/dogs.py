"""Stanford Dogs (Khosla et al. 2011), as in `images.tar` and `lists.tar`."""

from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_mat, readable


def list_dogs(raw: Path) -> Listing:
    """List the official split; the breed is the folder's name after its ImageNet synset.

    Class ids start at 1 in the authors' lists; each belongs to one folder.
    """
    train, test = (_read_list(raw / f"{split}_list.mat") for split in ("train", "test"))
    folders: dict[int, str] = {}
    for path, key in sorted(train + test, key=lambda image: image[1]):
        folder = path.split("/")[1]
        if folders.setdefault(key, folder) != folder:
            raise ValueError(
                f"{raw}/*_list.mat: class {key} is both {folders[key]} and {folder}; {UNPACK_AGAIN}"
            )
    # "n02099429-curly-coated_retriever": only the first hyphen ends the synset.
    classes = {key: readable(folder.partition("-")[2]) for key, folder in folders.items()}
    return Listing(classes, train, test)


def _read_list(path: Path) -> list[tuple[str, int]]:
    files, labels = read_mat(path, "file_list", "labels")
    if len(files) != len(labels):
        raise ValueError(f"{path} has {len(files)} files, {len(labels)} labels; {UNPACK_AGAIN}")
    return [(f"Images/{file}", int(label)) for file, label in zip(files, labels, strict=True)]
