"""An extra test set from another domain: class folders with the classes of the data set."""

from pathlib import Path

from synthbridge.core.log import say
from synthbridge.sources.dataset import RealDataset, RealImage
from synthbridge.sources.folders import list_class_files, list_class_folders
from synthbridge.sources.raw_folder import check_raw_folder


def load_extra_test(dataset: RealDataset, name: str, raw: Path) -> list[RealImage]:
    """List `raw`/`name`/CLASS/IMAGE, where CLASS is a key or a name of a class of `dataset`.

    A class may be missing, as in ImageNet-R; this is said.

    Args:
        dataset: whose classes they must be.
        name: of the folder.
        raw: the data set's raw folder: DVC watches it, and nothing beside it.

    Raises:
        ValueError: if there is no such folder, or one in it is no class.
    """
    folder = raw / name
    if not folder.is_dir():
        raise ValueError(
            f"params.yaml: data.{raw.name}.extra_test is '{name}', but {folder} does not exist; "
            "put its class folders there, or set it to null"
        )
    check_raw_folder(folder)
    keys = dataset.class_keys or dataset.class_names
    labels = {named: label for names in (dataset.class_names, keys)
              for label, named in enumerate(names)}  # fmt: skip
    images: list[RealImage] = []
    for class_folder in list_class_folders(folder):
        if class_folder.name not in labels:
            raise ValueError(
                f"{class_folder} is no class of {raw}; its classes are {', '.join(keys[:5])}"
                f"{', ...' if len(keys) > 5 else ''}"
            )
        label = labels[class_folder.name]
        # The prefix keeps them apart from files that a list names in the same folder.
        images += [
            RealImage(f"extra_test:{file.name}", file.read, label)
            for file in list_class_files(class_folder, raw, "test")
        ]
    present = {image.label for image in images}
    if len(present) < len(keys):
        say(f"  extra_test '{name}' has {len(present)} of {len(keys)} classes")
    return images
