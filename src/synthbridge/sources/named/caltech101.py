"""Caltech-101 (Fei-Fei et al. 2004), as in `101_ObjectCategories.tar.gz`."""

from collections.abc import Mapping
from pathlib import Path

from synthbridge.data.manifests import rank_by_hash
from synthbridge.sources.named.listing import Listing, name_some, readable

TRAIN_PER_CLASS = 30  # images: the usual protocol, since there is no official split
SPLIT_SALT = "caltech101"  # draws the split: the same for all, whatever the seeds of a run
CLUTTER = "BACKGROUND_Google"  # a 102nd folder of anything, no class

# Images of each class folder, 8,677 in all.
IMAGES_PER_CLASS = {
    "Faces": 435,
    "Faces_easy": 435,
    "Leopards": 200,
    "Motorbikes": 798,
    "accordion": 55,
    "airplanes": 800,
    "anchor": 42,
    "ant": 42,
    "barrel": 47,
    "bass": 54,
    "beaver": 46,
    "binocular": 33,
    "bonsai": 128,
    "brain": 98,
    "brontosaurus": 43,
    "buddha": 85,
    "butterfly": 91,
    "camera": 50,
    "cannon": 43,
    "car_side": 123,
    "ceiling_fan": 47,
    "cellphone": 59,
    "chair": 62,
    "chandelier": 107,
    "cougar_body": 47,
    "cougar_face": 69,
    "crab": 73,
    "crayfish": 70,
    "crocodile": 50,
    "crocodile_head": 51,
    "cup": 57,
    "dalmatian": 67,
    "dollar_bill": 52,
    "dolphin": 65,
    "dragonfly": 68,
    "electric_guitar": 75,
    "elephant": 64,
    "emu": 53,
    "euphonium": 64,
    "ewer": 85,
    "ferry": 67,
    "flamingo": 67,
    "flamingo_head": 45,
    "garfield": 34,
    "gerenuk": 34,
    "gramophone": 51,
    "grand_piano": 99,
    "hawksbill": 100,
    "headphone": 42,
    "hedgehog": 54,
    "helicopter": 88,
    "ibis": 80,
    "inline_skate": 31,
    "joshua_tree": 64,
    "kangaroo": 86,
    "ketch": 114,
    "lamp": 61,
    "laptop": 81,
    "llama": 78,
    "lobster": 41,
    "lotus": 66,
    "mandolin": 43,
    "mayfly": 40,
    "menorah": 87,
    "metronome": 32,
    "minaret": 76,
    "nautilus": 55,
    "octopus": 35,
    "okapi": 39,
    "pagoda": 47,
    "panda": 38,
    "pigeon": 45,
    "pizza": 53,
    "platypus": 34,
    "pyramid": 57,
    "revolver": 82,
    "rhino": 59,
    "rooster": 49,
    "saxophone": 40,
    "schooner": 63,
    "scissors": 39,
    "scorpion": 84,
    "sea_horse": 57,
    "snoopy": 35,
    "soccer_ball": 64,
    "stapler": 45,
    "starfish": 86,
    "stegosaurus": 59,
    "stop_sign": 64,
    "strawberry": 35,
    "sunflower": 85,
    "tick": 49,
    "trilobite": 86,
    "umbrella": 75,
    "watch": 239,
    "water_lilly": 37,
    "wheelchair": 59,
    "wild_cat": 34,
    "windsor_chair": 56,
    "wrench": 39,
    "yin_yang": 60,
}

# Folder names that say little to a text encoder.
BETTER_NAMES = {
    "Faces": "face",
    "Faces_easy": "close-up face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
    "water_lilly": "water lily",
}


def list_caltech101(raw: Path, images_per_class: Mapping[str, int] = IMAGES_PER_CLASS) -> Listing:
    """Draw 30 training images a class and leave the rest for the test.

    No file lists the images, so what is on disk is held against the published counts.

    Raises:
        ValueError: if a class folder is missing, unknown, or has more or fewer images.
    """
    folder = raw / "101_ObjectCategories"
    found = {
        path.name: sorted(image.name for image in path.glob("*.jpg"))
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name != CLUTTER
    }
    _check_folders({name: len(images) for name, images in found.items()}, images_per_class, folder)
    train, test = [], []
    for name in sorted(found):
        chosen = rank_by_hash([f"{name}/{image}" for image in found[name]], SPLIT_SALT)
        images = [(f"{folder.name}/{image}", name) for image in chosen]
        train += sorted(images[:TRAIN_PER_CLASS])
        test += sorted(images[TRAIN_PER_CLASS:])
    classes = {name: BETTER_NAMES.get(name, readable(name)) for name in sorted(found)}
    return Listing(classes, train, test)


def _check_folders(found: Mapping[str, int], published: Mapping[str, int], folder: Path) -> None:
    unknown = [f"'{name}'" for name in found if name not in published]
    if unknown:
        raise ValueError(
            f"{folder} holds {name_some(unknown)}, no class of Caltech-101; take it out"
        )
    wrong = [
        f"'{name}' has {found.get(name, 0)} of {count}"
        for name, count in published.items()
        if found.get(name, 0) != count
    ]
    if wrong:
        raise ValueError(
            f"{folder} is not as published: {name_some(wrong)} images; unpack "
            "101_ObjectCategories.tar.gz there again"
        )
