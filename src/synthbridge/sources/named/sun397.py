"""SUN397 (Xiao et al. 2010), as in `SUN397.tar.gz` and `Partitions.zip`."""

from pathlib import Path

from synthbridge.sources.named.listing import Listing, read_lines, readable


def list_sun397(raw: Path) -> Listing:
    """List partition 01 of ten: 50 training and 50 test images a class, of the 108,754."""
    classes = {key: name_scene(key) for key in read_lines(raw / "SUN397/ClassName.txt")}
    train, test = (
        [
            (f"SUN397{line}", line.rpartition("/")[0])  # "/c/church/outdoor/sun_aa.jpg"
            for line in read_lines(raw / f"Partitions/{split}_01.txt")
        ]
        for split in ("Training", "Testing")
    )
    return Listing(classes, train, test)


def name_scene(key: str) -> str:
    """Name a scene for prompts: `/c/church/outdoor` is an "outdoor church", `/a/abbey` an "abbey".

    The path starts with the letter of the place; what follows the place narrows it.
    """
    place, *narrower = key.strip("/").split("/")[1:]
    return readable(" ".join([*narrower, place]))
