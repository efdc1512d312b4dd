"""Stanford Cars (Krause et al. 2013), as in the authors' devkit and image archives."""

from pathlib import Path

from synthbridge.sources.named.listing import UNPACK_AGAIN, Listing, read_mat


def list_cars(raw: Path) -> Listing:
    """List train and test; class ids start at 1. Boxes are left alone: whole images are used.

    The labels of the test images lie in a file of their own beside the devkit.
    """
    (names,) = read_mat(raw / "devkit/cars_meta.mat", "class_names")
    train = _read_annotations(raw / "devkit/cars_train_annos.mat", "cars_train")
    test = _read_annotations(raw / "cars_test_annos_withlabels.mat", "cars_test")
    classes = {index: str(name) for index, name in enumerate(names, start=1)}
    return Listing(classes, train, test)


def _read_annotations(path: Path, folder: str) -> list[tuple[str, int]]:
    (annotations,) = read_mat(path, "annotations")
    if not {"fname", "class"} <= set(annotations.dtype.names or ()):
        # cars_test_annos.mat, renamed: the devkit holds the test images without their classes.
        raise ValueError(f"{path} holds no file names with classes; {UNPACK_AGAIN}")
    return [(f"{folder}/{row['fname']}", int(row["class"])) for row in annotations]
